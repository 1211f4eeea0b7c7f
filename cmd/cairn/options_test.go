package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func TestFlavorOptionsBecomeTheConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll("conf", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "conf/store.yaml", "path: data\nmode: fast\n")
	tests := map[string]struct {
		args []string
		want map[string]any
	}{
		"with =":                  {[]string{"--path=./elsewhere"}, map[string]any{"path": filepath.Join(dir, "elsewhere")}},
		"with a space":            {[]string{"--path", "elsewhere"}, map[string]any{"path": filepath.Join(dir, "elsewhere")}},
		"underscore and dash":     {[]string{"--max_parallel", "2"}, map[string]any{"max_parallel": 2.0}},
		"dash":                    {[]string{"--max-parallel=3"}, map[string]any{"max_parallel": 3.0}},
		"bool alone":              {[]string{"--verify"}, map[string]any{"verify": true}},
		"bool off":                {[]string{"--verify=false"}, map[string]any{"verify": false}},
		"list grows":              {[]string{"--tags", "a", "--tags", "b"}, map[string]any{"tags": []any{"a", "b"}}},
		"reference":               {[]string{"--password", "{{s3.key}}"}, map[string]any{"password": "{{s3.key}}"}},
		"name of a flag of ours":  {[]string{"--option-label", "x"}, map[string]any{"label": "x"}},
		"file":                    {[]string{"--config", "conf/store.yaml"}, map[string]any{"path": filepath.Join(dir, "conf/data"), "mode": "fast"}},
		"flag over file":          {[]string{"--config", "conf/store.yaml", "--mode", "safe"}, map[string]any{"path": filepath.Join(dir, "conf/data"), "mode": "safe"}},
		"no options":              {nil, map[string]any{}},
		"flavor with = and after": {[]string{"--verify", "--flavor=local"}, map[string]any{"verify": true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got map[string]any
			f := withFlavor(&fakeHost{registerComponent: func(r *apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error) {
				if err := json.Unmarshal(r.GetConfig(), &got); err != nil {
					t.Error(err)
				}
				return &apiv1.RegisterComponentResponse{Component: &apiv1.Component{Name: r.GetName(), Flavor: r.GetFlavor()}}, nil
			}})
			res := f.cairn(t, "", append([]string{"artifact-store", "register", "mine", "--flavor", "local"}, test.args...)...)
			if res.code != 0 {
				t.Fatalf("exit code %d: %s", res.code, res.stderr)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFlavorOptionMistakes(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"near miss":          {[]string{"mine", "--flavor", "local", "--pth", "x"}, 2, "has no flag --pth; did you mean --path?"},
		"option, no flavor":  {[]string{"mine", "--path", "x"}, 2, "once --flavor names it"},
		"no flavor":          {[]string{"mine"}, 2, "needs --flavor"},
		"unknown flavor":     {[]string{"mine", "--flavor", "locl"}, 3, "there is no flavor 'locl'"},
		"wrong type":         {[]string{"mine", "--flavor", "local", "--max-parallel", "many"}, 2, "max_parallel: 'many' is not an integer"},
		"secret value":       {[]string{"mine", "--flavor", "local", "--password", "hunter2"}, 2, "never taken from the command line"},
		"no value":           {[]string{"mine", "--flavor", "local", "--path"}, 2, "--path needs a value"},
		"no name":            {[]string{"--flavor", "local"}, 2, "needs NAME"},
		"two names":          {[]string{"mine", "yours", "--flavor", "local"}, 2, "does not take 'yours'"},
		"bad label":          {[]string{"mine", "--flavor", "local", "--label", "x"}, 2, "--label takes KEY=VALUE"},
		"config not there":   {[]string{"mine", "--flavor", "local", "--config", "none.yaml"}, 3, "there is no file 'none.yaml'"},
		"config not an dict": {[]string{"mine", "--flavor", "local", "--config", "options_test.go"}, 2, "is no YAML or JSON object"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res := withFlavor(&fakeHost{}).cairn(t, "", append([]string{"artifact-store", "register"}, test.args...)...)
			if res.code != test.code || !strings.Contains(res.stderr, test.want) {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", res.code, test.code, res.stderr, test.want)
			}
			if strings.Contains(res.stdout+res.stderr, "hunter2") {
				t.Errorf("a secret was printed: %s%s", res.stdout, res.stderr)
			}
			if strings.Contains(res.stderr, "Usage:") {
				t.Errorf("an error dumps the usage: %s", res.stderr)
			}
		})
	}
}

func TestHelpShowsTheOptionsOfAFlavor(t *testing.T) {
	res := withFlavor(&fakeHost{}).cairn(t, "", "artifact-store", "register", "--flavor", "local", "--help")
	if res.code != 0 {
		t.Fatal(res.stderr)
	}
	for _, want := range []string{"Options of flavor local:", "--path path", "Folder that artifacts are kept in", "required", "--max-parallel integer", "default 4", "one of fast, safe", "{{NAME.KEY}}"} {
		if !strings.Contains(res.stdout, want) {
			t.Errorf("the help lacks %q:\n%s", want, res.stdout)
		}
	}
}

func TestUpdateTakesTheOptionsOfTheComponentsFlavor(t *testing.T) {
	var got *apiv1.UpdateComponentRequest
	f := withFlavor(&fakeHost{
		getComponent: func(r *apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error) {
			if r.GetName() != "mine" {
				return nil, notFound("artifact store '" + r.GetName() + "'")
			}
			return &apiv1.GetComponentResponse{Component: &apiv1.Component{Name: "mine", Flavor: "local"}}, nil
		},
		updateComponent: func(r *apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error) {
			got = r
			return &apiv1.UpdateComponentResponse{Component: &apiv1.Component{Name: "mine", Revision: 2}}, nil
		},
	})
	res := f.cairn(t, "", "artifact-store", "update", "--mode", "fast", "mine", "--unset", "tags", "--remove-label", "old")
	if res.code != 0 {
		t.Fatal(res.stderr)
	}
	if want := `{"mode":"fast","tags":null}`; string(got.GetConfig()) != want {
		t.Errorf("config %s, want %s", got.GetConfig(), want)
	}
	if diff := cmp.Diff([]string{"old"}, got.GetRemoveLabels()); diff != "" {
		t.Error(diff)
	}
	if res := f.cairn(t, "", "artifact-store", "update", "mine"); res.code != 2 {
		t.Errorf("an update of nothing exits with %d: %s", res.code, res.stderr)
	}
	if res := f.cairn(t, "", "artifact-store", "update", "mien", "--mode", "fast"); res.code != 3 {
		t.Errorf("an update of what is not there exits with %d: %s", res.code, res.stderr)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
