package registry

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const storeSchema = `{"type":"object","additionalProperties":false,"required":["path"],"properties":{
	"path":{"type":"string","format":"path","description":"Directory."},
	"token":{"type":"string","x-cairn-secret":true},
	"parallel":{"type":"integer","minimum":1,"maximum":64,"default":4}}}`

// catalogue is a fixed set of flavors.
type catalogue struct {
	// objects are what ValidateConfig finds, by path attribute.
	finds []model.ReportFinding
	probe func(model.StackSnapshot) []model.ComponentReport
}

func (c *catalogue) list() []model.Flavor {
	return []model.Flavor{
		{Type: model.Orchestrator, Name: "local", Plugin: "local", Majors: []int{1}, SchemaVersion: 1,
			ConfigSchema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"max_parallel":{"type":"integer","minimum":0}}}`)},
		{Type: model.ArtifactStore, Name: "local", Plugin: "local", Majors: []int{1}, SchemaVersion: 1, ConfigSchema: json.RawMessage(storeSchema)},
	}
}

func (c *catalogue) Flavors(_ context.Context, t model.ComponentType) ([]model.Flavor, error) {
	var out []model.Flavor
	for _, f := range c.list() {
		if t == "" || f.Type == t {
			out = append(out, f)
		}
	}
	return out, nil
}

func (c *catalogue) Plugins(context.Context) ([]model.Plugin, error) {
	return []model.Plugin{
		{Name: "local", Version: "1.2.3", Digest: "sha256:aa", Status: model.PluginOK, Flavors: c.list()},
		{Name: "odd", Path: "/opt/cairn-plugin-odd", Status: model.PluginChanged, Detail: "new digest", Flavors: []model.Flavor{{Type: model.ArtifactStore, Name: "odd", Plugin: "odd"}}},
	}, nil
}

func (c *catalogue) ValidateConfig(context.Context, model.Component) ([]model.ReportFinding, error) {
	return c.finds, nil
}

func (c *catalogue) Probe(_ context.Context, s model.StackSnapshot, _ bool) ([]model.ComponentReport, error) {
	if c.probe != nil {
		return c.probe(s), nil
	}
	out := make([]model.ComponentReport, len(s.Components))
	for i, comp := range s.Components {
		out[i] = model.ComponentReport{Component: comp.Component, State: model.HealthOK}
	}
	return out, nil
}

type keyedSecrets map[string][]string

func (s keyedSecrets) SecretKeys(context.Context) (map[string][]string, error) { return s, nil }

type pinned struct{ project, stack string }

func (p *pinned) PinStack(project model.Project, stack string) error {
	p.project, p.stack = project.ID, stack
	return nil
}

type liveRuns map[string][]string

func (r liveRuns) ActiveRunsOn(_ context.Context, stack string) ([]string, error) {
	return r[stack], nil
}

type fixture struct {
	*Registry
	catalogue *catalogue
	pins      *pinned
	runs      liveRuns
	store     *store.Store
}

func open(t *testing.T) fixture {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "cairn.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f := fixture{catalogue: &catalogue{}, pins: &pinned{}, runs: liveRuns{}, store: s}
	f.Registry = New(Parts{
		Store: s, Flavors: f.catalogue, Secrets: keyedSecrets{"aws": {"token", "id"}}, Pins: f.pins, Runs: f.runs,
	})
	return f
}

func (f fixture) mustRegister(t *testing.T, typ model.ComponentType, name, config string) model.Component {
	t.Helper()
	c, err := f.RegisterComponent(t.Context(), model.Component{Type: typ, Name: name, Flavor: "local", Config: json.RawMessage(config)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f fixture) mustStack(t *testing.T, name, orchestrator, artifactStore string) model.Stack {
	t.Helper()
	s, err := f.RegisterStack(t.Context(), name, []model.ComponentChoice{
		{Type: model.ArtifactStore, Name: artifactStore}, {Type: model.Orchestrator, Name: orchestrator},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantError checks code and words of an error, and that it shows a way out.
func wantError(t *testing.T, err error, code diag.Code, words ...string) {
	t.Helper()
	var e *diag.Error
	if !asError(err, &e) {
		t.Fatalf("got %v, want a *diag.Error", err)
	}
	all := e.Error() + " " + e.Hint
	for _, f := range e.Findings {
		all += " " + f.Hint
	}
	if e.Code != code {
		t.Errorf("code %s, want %s: %s", e.Code, code, all)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("no %q in: %s", w, all)
		}
	}
}

func asError(err error, into **diag.Error) bool {
	e, ok := asDiag(err)
	*into = e
	return ok
}

func TestRegisterComponentRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		c     model.Component
		code  diag.Code
		words []string
	}{
		"type":          {model.Component{Type: "artifact-stor", Name: "a", Flavor: "local"}, diag.Invalid, []string{"artifact-stor", "did you mean 'artifact-store'?"}},
		"flavor":        {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "locl"}, diag.NotFound, []string{"'locl'", "did you mean 'local'?", "flavor list"}},
		"broken plugin": {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "odd"}, diag.Plugin, []string{"'odd'", "changed since it was approved", "cairn plugin approve /opt/cairn-plugin-odd"}},
		"name":          {model.Component{Type: model.ArtifactStore, Name: "My Store", Flavor: "local"}, diag.Invalid, []string{"'My Store'", "'my-store'"}},
		"latest":        {model.Component{Type: model.ArtifactStore, Name: "latest", Flavor: "local"}, diag.Invalid, []string{"latest"}},
		"taken":         {model.Component{Type: model.ArtifactStore, Name: "default", Flavor: "local", Config: json.RawMessage(`{"path":"/x"}`)}, diag.Refused, []string{"'default' already", "update"}},
		"missing":       {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local"}, diag.Invalid, []string{"path"}},
		"wrong type":    {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":7}`)}, diag.Invalid, []string{"path", "string"}},
		"unknown key":   {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/x","paralel":3}`)}, diag.Invalid, []string{"paralel", "did you mean 'parallel'?"}},
		"out of range":  {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/x","parallel":99}`)}, diag.Invalid, []string{"parallel", "64"}},
		"relative path": {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"x/y"}`)}, diag.Invalid, []string{"path", "absolute"}},
		"no object":     {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`[1]`)}, diag.Invalid, []string{"not valid"}},
		"no secret":     {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/x","token":"{{awz.token}}"}`)}, diag.Invalid, []string{"token", "'awz'", "did you mean 'aws'?", "cairn secret create awz"}},
		"no key":        {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/x","token":"{{aws.tokn}}"}`)}, diag.Invalid, []string{"'tokn'", "did you mean 'token'?"}},
		"plain secret":  {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/x","token":"hunter2"}`)}, diag.Invalid, []string{"token", "plain text"}},
		"label":         {model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Labels: map[string]string{"a b": "c"}}, diag.Invalid, []string{"'a b'"}},
	}
	f := open(t)
	before, err := f.ListComponents(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := f.RegisterComponent(t.Context(), c.c)
			wantError(t, err, c.code, c.words...)
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error holds the secret")
			}
		})
	}
	after, err := f.ListComponents(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("a refusal changed something:\n%s", d)
	}
}

func TestRegisterAsksThePlugin(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.catalogue.finds = []model.ReportFinding{{Summary: "is a file", Path: "path", Hint: "name a directory"}}
	_, err := f.RegisterComponent(t.Context(), model.Component{Type: model.ArtifactStore, Name: "a", Flavor: "local", Config: json.RawMessage(`{"path":"/etc/passwd"}`)})
	wantError(t, err, diag.Invalid, "path: is a file", "name a directory")
}

func TestUpdateComponentMergesAndCounts(t *testing.T) {
	t.Parallel()
	f := open(t)
	c := f.mustRegister(t, model.ArtifactStore, "a", `{"path":"/x","parallel":2,"token":"{{aws.token}}"}`)
	if c.Revision != 1 || c.PluginVersion != "1.2.3" || c.SchemaVersion != 1 {
		t.Fatalf("registered %+v", c)
	}
	c, err := f.UpdateComponent(t.Context(), model.ArtifactStore, "a", model.ComponentChange{
		Config: json.RawMessage(`{"parallel":8,"token":null}`),
		Labels: model.LabelChange{Set: map[string]string{"team": "vision"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(c.Config, json.RawMessage(`{"path":"/x","parallel":8}`)) || c.Revision != 2 || c.Labels["team"] != "vision" {
		t.Fatalf("updated to %s, revision %d, labels %v", c.Config, c.Revision, c.Labels)
	}
	same, err := f.UpdateComponent(t.Context(), model.ArtifactStore, "a", model.ComponentChange{Config: json.RawMessage(`{"parallel":8}`)})
	if err != nil || same.Revision != 2 {
		t.Fatalf("a change that changes nothing gave revision %d, %v", same.Revision, err)
	}
	old, err := f.store.ComponentRevision(t.Context(), c.ID, 1)
	if err != nil || !sameJSON(old.Config, json.RawMessage(`{"path":"/x","parallel":2,"token":"{{aws.token}}"}`)) {
		t.Fatalf("revision 1 is %s, %v", old.Config, err)
	}
	_, err = f.UpdateComponent(t.Context(), model.ArtifactStore, "a", model.ComponentChange{Config: json.RawMessage(`{"path":null}`)})
	wantError(t, err, diag.Invalid, "path")
	_, err = f.UpdateComponent(t.Context(), model.ArtifactStore, "a", model.ComponentChange{Labels: model.LabelChange{Remove: []string{"tem"}}})
	wantError(t, err, diag.NotFound, "did you mean 'team'?")
}

func TestBuiltInsCannotBeChanged(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	for _, typ := range model.ComponentTypes() {
		_, err := f.UpdateComponent(ctx, typ, "default", model.ComponentChange{Config: json.RawMessage(`{}`)})
		wantError(t, err, diag.Refused, "built in", "register")
		_, err = f.RenameComponent(ctx, typ, "default", "other")
		wantError(t, err, diag.Refused, "built in")
		wantError(t, f.DeleteComponent(ctx, typ, "default"), diag.Refused, "built in")
	}
	_, err := f.UpdateStack(ctx, "default", model.StackChange{Labels: model.LabelChange{Set: map[string]string{"a": "b"}}})
	wantError(t, err, diag.Refused, "built in")
	_, err = f.RenameStack(ctx, "default", "other")
	wantError(t, err, diag.Refused, "built in")
	_, err = f.DeleteStack(ctx, model.Client{}, "default", true, false)
	wantError(t, err, diag.Refused, "built in")
}

func TestRegisterStackRefuses(t *testing.T) {
	t.Parallel()
	f := open(t)
	o := model.ComponentChoice{Type: model.Orchestrator, Name: "default"}
	a := model.ComponentChoice{Type: model.ArtifactStore, Name: "default"}
	cases := map[string]struct {
		name    string
		choices []model.ComponentChoice
		code    diag.Code
		words   []string
	}{
		"no store":        {"s", []model.ComponentChoice{o}, diag.Invalid, []string{"lacks an artifact store", "--artifact-store"}},
		"no orchestrator": {"s", []model.ComponentChoice{a}, diag.Invalid, []string{"lacks an orchestrator"}},
		"nothing":         {"s", nil, diag.Invalid, []string{"lacks an orchestrator and an artifact store"}},
		"two stores":      {"s", []model.ComponentChoice{o, a, a}, diag.Invalid, []string{"two of type artifact-store"}},
		"unknown":         {"s", []model.ComponentChoice{o, {Type: model.ArtifactStore, Name: "defalt"}}, diag.NotFound, []string{"did you mean 'default'?"}},
		"name":            {"s 1", []model.ComponentChoice{o, a}, diag.Invalid, []string{"'s-1'"}},
		"taken":           {"default", []model.ComponentChoice{o, a}, diag.Refused, []string{"already"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := f.RegisterStack(t.Context(), c.name, c.choices, nil)
			wantError(t, err, c.code, c.words...)
		})
	}
	list, err := f.ListStacks(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%d stacks, %v", len(list), err)
	}
}

func TestUpdateStack(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	f.mustRegister(t, model.ArtifactStore, "a", `{"path":"/a"}`)
	s := f.mustStack(t, "s", "default", "default")
	if s.Members[0].Type != model.Orchestrator {
		t.Fatalf("members in order %v", s.Members)
	}
	s, err := f.UpdateStack(ctx, "s", model.StackChange{Set: []model.ComponentChoice{{Type: model.ArtifactStore, Name: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := s.Member(model.ArtifactStore); m.Name != "a" || s.Revision != 2 || len(s.Members) != 2 {
		t.Fatalf("updated to %+v", s)
	}
	_, err = f.UpdateStack(ctx, "s", model.StackChange{Remove: []model.ComponentChoice{{Type: model.ArtifactStore}}})
	wantError(t, err, diag.Refused, "cannot do without its artifact store", "cairn stack update s --artifact-store")
	_, err = f.UpdateStack(ctx, "s", model.StackChange{Remove: []model.ComponentChoice{{Type: model.ArtifactStore, Name: "b"}}})
	wantError(t, err, diag.NotFound, "no artifact store 'b'", "artifact store 'a'")
	_, err = f.UpdateStack(ctx, "nope", model.StackChange{})
	wantError(t, err, diag.NotFound, "nope")
	got, err := f.GetStack(ctx, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Members, got.Members); d != "" {
		t.Errorf("a refusal changed the stack:\n%s", d)
	}
}

func TestDeleteNamesWhoUsesIt(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	f.mustRegister(t, model.ArtifactStore, "shared", `{"path":"/a"}`)
	f.mustRegister(t, model.Orchestrator, "own", `{}`)
	f.mustStack(t, "one", "own", "shared")
	f.mustStack(t, "two", "default", "shared")
	wantError(t, f.DeleteComponent(ctx, model.ArtifactStore, "shared"), diag.Refused, "'one', 'two'", "cairn stack update one --artifact-store")

	f.runs["one"] = []string{"training-3"}
	_, err := f.DeleteStack(ctx, model.Client{}, "one", true, false)
	wantError(t, err, diag.Refused, "training-3", "cairn run cancel training-3")
	delete(f.runs, "one")

	if _, err := f.SetActive(ctx, model.Client{}, "one", false); err != nil {
		t.Fatal(err)
	}
	_, err = f.DeleteStack(ctx, model.Client{}, "one", true, false)
	wantError(t, err, diag.Refused, "active stack", "cairn stack set default")
	if _, err := f.SetActive(ctx, model.Client{}, "default", false); err != nil {
		t.Fatal(err)
	}

	want := model.StackDeletion{
		Deleted: []model.ComponentChoice{{Type: model.Orchestrator, Name: "own"}},
		Kept:    []model.ComponentChoice{{Type: model.ArtifactStore, Name: "shared"}},
	}
	for _, dry := range []bool{true, false} {
		got, err := f.DeleteStack(ctx, model.Client{}, "one", true, dry)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("dry run %v:\n%s", dry, d)
		}
	}
	if _, err := f.GetComponent(ctx, model.Orchestrator, "own"); diag.CodeOf(err) != diag.NotFound {
		t.Errorf("the component is still there: %v", err)
	}
	if _, err := f.GetComponent(ctx, model.ArtifactStore, "shared"); err != nil {
		t.Errorf("the shared component is gone: %v", err)
	}
}

func TestActiveStackOrder(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	for _, n := range []string{"flagged", "env", "mine", "pinned", "everywhere"} {
		f.mustStack(t, n, "default", "default")
	}
	project := model.Project{ID: "p", File: "/p/.cairn/project.yaml"}
	client := model.Client{Project: project}
	check := func(c model.Client, name string, by model.Decider, source string) {
		t.Helper()
		got, _, err := f.Active(ctx, c)
		if err != nil || got.Name != name || got.DecidedBy != by || !strings.Contains(got.Source, source) {
			t.Errorf("got %+v, %v; want %s by %s", got, err, name, by)
		}
	}
	check(client, "default", model.DecidedByDefault, "")
	if _, err := f.SetActive(ctx, model.Client{Project: model.Project{ID: model.DefaultProject}}, "everywhere", false); err != nil {
		t.Fatal(err)
	}
	check(client, "everywhere", model.DecidedByUser, "everywhere")
	got, err := f.SetActive(ctx, client, "pinned", true)
	if err != nil || got.Name != "pinned" || f.pins.project != "p" || f.pins.stack != "pinned" {
		t.Fatalf("pinned %+v: %+v, %v", f.pins, got, err)
	}
	client.Project.Stack = "pinned"
	check(client, "pinned", model.DecidedByProject, "/p/.cairn/project.yaml")
	if _, err := f.SetActive(ctx, client, "mine", false); err != nil {
		t.Fatal(err)
	}
	check(client, "mine", model.DecidedByUserProject, "'p'")
	check(model.Client{Project: model.Project{ID: "other"}}, "everywhere", model.DecidedByUser, "")
	client.StackEnv = "env"
	check(client, "env", model.DecidedByEnvironment, "CAIRN_STACK")
	client.StackFlag = "flagged"
	check(client, "flagged", model.DecidedByFlag, "--stack")

	// A choice follows its stack's name, and is never passed over.
	if _, err := f.RenameStack(ctx, "mine", "renamed"); err != nil {
		t.Fatal(err)
	}
	client.StackEnv, client.StackFlag = "", ""
	check(client, "renamed", model.DecidedByUserProject, "")
	if _, err := f.DeleteStack(ctx, model.Client{Project: model.Project{ID: "other"}}, "renamed", false, false); err != nil {
		t.Fatal(err)
	}
	_, _, err = f.Active(ctx, client)
	wantError(t, err, diag.NotFound, "deleted", "cairn stack set")
	client.StackEnv = "envv"
	_, _, err = f.Active(ctx, client)
	wantError(t, err, diag.NotFound, "did you mean 'env'?", "CAIRN_STACK")
	_, err = f.SetActive(ctx, model.Client{}, "env", true)
	wantError(t, err, diag.Invalid, "no project", "cairn init")
}

func TestCopyAndRename(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	a := f.mustRegister(t, model.ArtifactStore, "a", `{"path":"/a"}`)
	f.mustStack(t, "s", "default", "a")
	b, err := f.CopyComponent(ctx, model.ArtifactStore, "a", "b")
	if err != nil || b.ID == a.ID || b.Revision != 1 || !sameJSON(a.Config, b.Config) {
		t.Fatalf("copied to %+v, %v", b, err)
	}
	if _, err := f.RenameComponent(ctx, model.ArtifactStore, "a", "c"); err != nil {
		t.Fatal(err)
	}
	s, err := f.CopyStack(ctx, "s", "s2")
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := s.Member(model.ArtifactStore); m.ComponentID != a.ID || m.Name != "c" {
		t.Errorf("the copy has %+v", m)
	}
	_, err = f.RenameComponent(ctx, model.ArtifactStore, "c", "b")
	wantError(t, err, diag.Refused, "already")
	_, err = f.RenameStack(ctx, "s", "s2")
	wantError(t, err, diag.Refused, "already")
}

func TestValidateStackAndSnapshot(t *testing.T) {
	t.Parallel()
	f := open(t)
	ctx := t.Context()
	f.mustRegister(t, model.ArtifactStore, "a", `{"path":"/a","token":"{{aws.token}}"}`)
	s := f.mustStack(t, "s", "default", "a")
	snap, err := f.Snapshot(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := snap.Component(model.ArtifactStore); !ok || c.Component.Revision != 1 || c.PluginVersion != "1.2.3" || c.PluginDigest != "sha256:aa" {
		t.Fatalf("snapshot %+v", snap)
	}
	reports, err := f.ValidateStack(ctx, s, false)
	if err != nil || len(reports) != 2 || reports[0].State != model.HealthOK || reports[1].State != model.HealthOK {
		t.Fatalf("reports %+v, %v", reports, err)
	}
	// The secret goes away: the store is reported, and only the rest is probed.
	f.secrets = keyedSecrets{}
	reports, err = f.ValidateStack(ctx, s, false)
	if err != nil || reports[0].State != model.HealthOK || reports[1].State != model.HealthFailed || reports[1].Findings[0].Path != "token" {
		t.Fatalf("reports %+v, %v", reports, err)
	}
	attention, err := f.Attention(ctx, []model.Component{reports[0].Component, reports[1].Component})
	if err != nil || len(attention) != 1 || !strings.Contains(attention[reports[1].Component.ID], "aws") {
		t.Fatalf("attention %v, %v", attention, err)
	}
	users, err := f.SecretUsers(ctx)
	if err != nil || !cmp.Equal(users, map[string][]string{"aws": {"artifact-store/a"}}) {
		t.Fatalf("users %v, %v", users, err)
	}
}
