package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return
		}
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", path, cmd.Short)
		}
		if !strings.Contains(cmd.Example, "  cairn ") {
			t.Errorf("%s: no example", path)
		}
		for _, line := range strings.Split(cmd.Long, "\n") {
			if len(line) > 90 {
				t.Errorf("%s: a line of %d columns: %s", path, len(line), line)
			}
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Long, "Exit codes: ") {
			t.Errorf("%s: no exit codes", path)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&cli{}).newRoot())
}

func TestUsageMistakes(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"command":             {[]string{"stak", "list"}, "there is no command 'cairn stak'; did you mean 'stack'?"},
		"verb":                {[]string{"stack", "regster"}, "there is no command 'cairn stack regster'; did you mean 'register'?"},
		"nested verb":         {[]string{"artifact-store", "flavor", "lst"}, "did you mean 'list'?"},
		"flag":                {[]string{"stack", "list", "--outptu", "json"}, "has no flag --outptu; did you mean --output?"},
		"short flag":          {[]string{"stack", "list", "-z"}, "has no flag -z"},
		"flag of wrong verb":  {[]string{"stak", "--foo"}, "there is no command 'cairn stak'"},
		"format":              {[]string{"stack", "list", "--output", "jsn"}, "there is no format 'jsn'"},
		"argument missing":    {[]string{"stack", "set"}, "'cairn stack set' needs NAME"},
		"argument too many":   {[]string{"stack", "list", "x"}, "does not take 'x'"},
		"limit":               {[]string{"run", "list", "--limit", "-1"}, "--limit cannot be negative"},
		"attempt, no step":    {[]string{"run", "logs", "latest", "--attempt", "1"}, "--attempt needs a STEP"},
		"get without to":      {[]string{"artifact", "get", "model"}, "needs --to"},
		"help of nothing":     {[]string{"help", "stack", "foo"}, "there is no command 'cairn stack foo'"},
		"nothing to update":   {[]string{"stack", "update", "mine"}, "nothing to change"},
		"secret without keys": {[]string{"secret", "create", "s3"}, "has no keys"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res := (&fakeHost{}).cairn(t, "", test.args...)
			if res.code != 2 || !strings.Contains(res.stderr, test.want) {
				t.Errorf("exit code %d, stderr %q, want %q in it", res.code, res.stderr, test.want)
			}
			if !strings.HasPrefix(res.stderr, "Error: ") || strings.Contains(res.stderr, "Usage:") {
				t.Errorf("stderr %q", res.stderr)
			}
		})
	}
}

func TestErrorsHaveOneForm(t *testing.T) {
	whole := &diag.Error{
		Code: diag.Refused, Summary: "stack 'mine' is in use", Detail: "Run training-3 uses it.", Hint: "cairn run wait training-3",
		Findings: diag.List{{Severity: diag.SeverityWarning, Path: "path", Summary: "is empty", Hint: "give one"}},
	}
	tests := map[string]struct {
		err  error
		code int
		want string
	}{
		"whole": {whole, 4, "Error: stack 'mine' is in use\n  Run training-3 uses it.\n  warning: path: is empty\n    Try: give one\nTry: cairn run wait training-3\n"},
		"plain": {errors.New("the disk is on fire"), 1, "Error: the disk is on fire\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := &fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) { return nil, test.err }}
			res := f.cairn(t, "", "stack", "list")
			if diff := cmp.Diff(result{stderr: test.want, code: test.code}, res, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
		})
	}

	f := &fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) { return nil, whole }}
	res := f.cairn(t, "", "stack", "list", "--output", "json")
	var got errorView
	if err := json.Unmarshal([]byte(res.stderr), &got); err != nil {
		t.Fatalf("%v: %s", err, res.stderr)
	}
	want := errorView{errorBody{
		Code: "refused", ExitCode: 4, Summary: whole.Summary, Detail: whole.Detail, Hint: whole.Hint,
		Findings: []findingView{{Severity: "warning", Path: "path", Summary: "is empty", Hint: "give one"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || res.code != 4 || res.stdout != "" {
		t.Errorf("exit code %d, stdout %q, %s", res.code, res.stdout, diff)
	}
	if res := f.cairn(t, "", "stack", "lst", "--output=yaml"); !strings.Contains(res.stderr, "code: invalid\n") {
		t.Errorf("a mistake in the command is not in the format asked for: %s", res.stderr)
	}
}

func TestDestructiveVerbsRefuseWithoutAnAnswer(t *testing.T) {
	var calls []bool
	f := &fakeHost{deleteStack: func(r *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error) {
		calls = append(calls, r.GetDryRun())
		return &apiv1.DeleteStackResponse{
			DeletedComponents: []*apiv1.ComponentChoice{{Type: "artifact-store", Name: "mine"}},
			KeptComponents:    []*apiv1.ComponentChoice{{Type: "orchestrator", Name: "default"}},
		}, nil
	}}
	res := f.cairn(t, "y\n", "stack", "delete", "mine", "--recursive")
	if res.code != 4 || !strings.Contains(res.stderr, "delete stack mine and artifact-store/mine") || !strings.Contains(res.stderr, "--yes") {
		t.Errorf("exit code %d, stderr %s", res.code, res.stderr)
	}
	res = f.cairn(t, "", "stack", "delete", "mine", "--recursive", "--yes")
	if res.code != 0 || !slices.Equal(calls, []bool{true, true, false}) {
		t.Errorf("exit code %d, dry runs %v, stderr %s", res.code, calls, res.stderr)
	}
	if want := "Deleted stack mine and artifact-store/mine.\n"; res.stdout != want {
		t.Errorf("stdout %q, want %q", res.stdout, want)
	}
	if want := "Kept, in use elsewhere or built in: orchestrator/default\n"; res.stderr != want {
		t.Errorf("stderr %q, want %q", res.stderr, want)
	}
	if res := f.cairn(t, "", "stack", "delete", "mine", "--yes", "--quiet"); res.stdout+res.stderr != "" {
		t.Errorf("--quiet prints %q", res.stdout+res.stderr)
	}
}

func TestCompletion(t *testing.T) {
	f := withFlavor(&fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
		return &apiv1.ListStacksResponse{Stacks: []*apiv1.Stack{{Name: "default"}, {Name: "mine"}}}, nil
	}})
	tests := map[string]struct {
		words []string
		want  []string
	}{
		"argument":      {[]string{"stack", "set", ""}, []string{"default", "mine"}},
		"beginning":     {[]string{"stack", "describe", "m"}, []string{"mine"}},
		"flag value":    {[]string{"stack", "get", "--stack", ""}, []string{"default", "mine"}},
		"format":        {[]string{"stack", "get", "--output", "j"}, []string{"json"}},
		"flavor option": {[]string{"artifact-store", "register", "x", "--flavor", "local", "--max"}, []string{"--max-parallel"}},
		"option value":  {[]string{"artifact-store", "register", "x", "--flavor", "local", "--mode", ""}, []string{"fast", "safe"}},
		"beyond":        {[]string{"stack", "set", "mine", ""}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res := f.cairn(t, "", append([]string{cobra.ShellCompNoDescRequestCmd}, test.words...)...)
			lines := strings.Split(strings.TrimSpace(res.stdout), "\n")
			var got []string
			for _, l := range lines {
				if !strings.HasPrefix(l, ":") {
					got = append(got, l)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || res.code != 0 {
				t.Errorf("exit code %d: %s", res.code, diff)
			}
		})
	}
	failing := &fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
		return nil, errors.New("no home")
	}}
	if res := failing.cairn(t, "", cobra.ShellCompRequestCmd, "stack", "set", ""); res.code != 0 || strings.Contains(res.stdout+res.stderr, "home") {
		t.Errorf("completion shows an error: %+v", res)
	}
}

func TestSecretsComeFromElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "cert.pem", "line one\nline two\n")
	write(t, "s3.yaml", "access_key: AK\nsecret_key: SK\n")
	tests := map[string]struct {
		stdin string
		args  []string
		want  map[string]string
	}{
		"standard input": {"tok\n", []string{"token"}, map[string]string{"token": "tok"}},
		"file":           {"", []string{"--from-file", "key=cert.pem"}, map[string]string{"key": "line one\nline two\n"}},
		"values":         {"", []string{"--values", "s3.yaml"}, map[string]string{"access_key": "AK", "secret_key": "SK"}},
		"values, stdin":  {`{"a": "b"}`, []string{"--values", "-"}, map[string]string{"a": "b"}},
		"both":           {"tok", []string{"token", "--values", "s3.yaml"}, map[string]string{"access_key": "AK", "secret_key": "SK", "token": "tok"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got map[string]string
			f := &fakeHost{createSecret: func(r *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error) {
				got = r.GetValues()
				return &apiv1.CreateSecretResponse{Secret: &apiv1.Secret{Name: r.GetName(), Keys: []string{"k"}}}, nil
			}}
			res := f.cairn(t, test.stdin, append([]string{"secret", "create", "s"}, test.args...)...)
			if diff := cmp.Diff(test.want, got); diff != "" || res.code != 0 {
				t.Errorf("exit code %d: %s %s", res.code, res.stderr, diff)
			}
		})
	}
	for name, args := range map[string][]string{
		"value on the command line": {"token=hunter2"},
		"two keys, one input":       {"a", "b"},
		"empty input":               {"a"},
		"values are no map":         {"--values", "cert.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			res := (&fakeHost{}).cairn(t, "", append([]string{"secret", "create", "s"}, args...)...)
			if res.code != 2 || strings.Contains(res.stderr, "hunter2") || strings.Contains(res.stderr, "line one") {
				t.Errorf("exit code %d: %s", res.code, res.stderr)
			}
		})
	}
}
