package store

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
)

func at(seconds int) time.Time { return time.Date(2026, 1, 2, 3, 4, seconds, 5000, time.UTC) }

func component(id, name string) model.Component {
	return model.Component{ID: id, Type: model.ArtifactStore, Name: name, Flavor: "local", Config: json.RawMessage(`{"path":"/x"}`),
		SchemaVersion: 2, PluginVersion: "1.0", Labels: map[string]string{"a": "b"}, CreatedAt: at(1), UpdatedAt: at(1)}
}

func stackOf(id, name string, components ...string) model.Stack {
	st := model.Stack{ID: id, Name: name, CreatedAt: at(1), UpdatedAt: at(1)}
	for _, c := range components {
		st.Members = append(st.Members, model.StackMember{ComponentID: c})
	}
	return st
}

// wants checks the errors of a list of calls.
func wants(t *testing.T, calls []struct {
	name string
	got  error
	want error
}) {
	t.Helper()
	for _, c := range calls {
		if !errors.Is(c.got, c.want) || c.want == nil && c.got != nil {
			t.Errorf("%s gives %v, want %v", c.name, c.got, c.want)
		}
	}
}

type call = struct {
	name string
	got  error
	want error
}

func TestComponents(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	c := component("c1", "mine")
	if err := s.CreateComponent(ctx, c); err != nil {
		t.Fatal(err)
	}
	c.Revision = 1
	for _, ref := range []string{"mine", "c1"} {
		got, err := s.Component(ctx, model.ArtifactStore, ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Errorf("%s:\n%s", ref, diff)
		}
	}
	next := c
	next.Config, next.Labels, next.UpdatedAt = json.RawMessage(`{"path":"/y"}`), nil, at(9)
	if err := s.UpdateComponent(ctx, next, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.RenameComponent(ctx, "c1", "yours"); err != nil {
		t.Fatal(err)
	}
	next.Revision, next.Name = 2, "yours"
	got, err := s.Component(ctx, model.ArtifactStore, "yours")
	if diff := cmp.Diff(next, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	first, err := s.ComponentRevision(ctx, "c1", 1)
	if err != nil || string(first.Config) != `{"path":"/x"}` || first.Revision != 1 {
		t.Errorf("revision 1 is %+v, %v", first, err)
	}
	_, missing := s.Component(ctx, model.Orchestrator, "yours")
	_, noRevision := s.ComponentRevision(ctx, "c1", 3)
	other := component("c2", "default")
	wants(t, []call{
		{"another type's name", missing, model.ErrNotFound},
		{"a revision that is not", noRevision, model.ErrNotFound},
		{"a taken name", s.CreateComponent(ctx, other), model.ErrExists},
		{"a stale update", s.UpdateComponent(ctx, next, 1), model.ErrConflict},
		{"an update of nothing", s.UpdateComponent(ctx, component("nope", "x"), 1), model.ErrNotFound},
		{"renaming to a taken name", s.RenameComponent(ctx, "c1", "default"), model.ErrExists},
		{"renaming to its own name", s.RenameComponent(ctx, "c1", "yours"), nil},
		{"renaming nothing", s.RenameComponent(ctx, "nope", "x"), model.ErrNotFound},
		{"deleting nothing", s.DeleteComponent(ctx, "nope"), model.ErrNotFound},
		{"deleting a built-in", s.DeleteComponent(ctx, model.DefaultOrchestratorID), model.ErrConflict},
		{"renaming a built-in", s.RenameComponent(ctx, model.DefaultOrchestratorID, "x"), model.ErrConflict},
		{"updating a built-in", s.UpdateComponent(ctx, model.Component{ID: model.DefaultArtifactStoreID}, 1), model.ErrConflict},
	})
	all, err := s.Components(ctx, "")
	if err != nil || len(all) != 3 || all[2].Type != model.Orchestrator {
		t.Errorf("all are %+v, %v", all, err)
	}
	if stores, err := s.Components(ctx, model.ArtifactStore); err != nil || len(stores) != 2 {
		t.Errorf("stores are %+v, %v", stores, err)
	}
	if err := s.DeleteComponent(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ComponentRevision(ctx, "c1", 1); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a revision of what was deleted: %v", err)
	}
}

func TestStacks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	for _, c := range []model.Component{component("c1", "one"), component("c2", "two")} {
		if err := s.CreateComponent(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	st := stackOf("s1", "mine", "c1", model.DefaultOrchestratorID)
	st.Labels = map[string]string{"env": "prod"}
	if err := s.CreateStack(ctx, st); err != nil {
		t.Fatal(err)
	}
	got, err := s.Stack(ctx, "mine")
	want := st
	want.Revision = 1
	want.Members = []model.StackMember{
		{Type: model.Orchestrator, ComponentID: model.DefaultOrchestratorID, Name: "default", Flavor: "local"},
		{Type: model.ArtifactStore, ComponentID: "c1", Name: "one", Flavor: "local"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	_, missing := s.Stack(ctx, "nope")
	wants(t, []call{
		{"no stack", missing, model.ErrNotFound},
		{"a taken name", s.CreateStack(ctx, stackOf("s2", "mine")), model.ErrExists},
		{"a component that is not", s.CreateStack(ctx, stackOf("s2", "x", "nope")), model.ErrNotFound},
		{"two stores", s.CreateStack(ctx, stackOf("s2", "x", "c1", "c2")), model.ErrConflict},
		{"deleting what is in use", s.DeleteComponent(ctx, "c1"), model.ErrInUse},
		{"a stale update", s.UpdateStack(ctx, st, 4), model.ErrConflict},
		{"updating nothing", s.UpdateStack(ctx, stackOf("nope", "x"), 1), model.ErrNotFound},
		{"renaming to a taken name", s.RenameStack(ctx, "s1", "default"), model.ErrExists},
		{"changing the default", s.UpdateStack(ctx, stackOf(model.DefaultStackID, "default"), 1), model.ErrConflict},
		{"deleting the default", s.DeleteStack(ctx, model.DefaultStackID, nil), model.ErrConflict},
	})
	if _, err := s.Stack(ctx, "x"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("half of a refused stack stands: %v", err)
	}
	next := stackOf("s1", "mine", model.DefaultOrchestratorID, "c2")
	if err := s.UpdateStack(ctx, next, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.RenameStack(ctx, "s1", "yours"); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Stack(ctx, "s1"); err != nil || got.Revision != 2 || got.Name != "yours" || got.Labels != nil || got.Members[1].Name != "two" {
		t.Errorf("the stack is %+v, %v", got, err)
	}
	if users, err := s.StacksUsing(ctx, "c2"); err != nil || !cmp.Equal(users, []string{"yours"}) {
		t.Errorf("c2 is used by %v, %v", users, err)
	}
	if all, err := s.Stacks(ctx); err != nil || len(all) != 2 || all[0].Name != "default" || len(all[0].Members) != 2 || len(all[1].Members) != 2 {
		t.Errorf("all are %+v, %v", all, err)
	}
	// Deleting is whole: c2 is in another stack too.
	if err := s.CreateStack(ctx, stackOf("s3", "third", "c2", model.DefaultOrchestratorID)); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteStack(ctx, "s1", []string{"c1", "c2"}); !errors.Is(err, model.ErrInUse) {
		t.Errorf("deleting a shared component gives %v", err)
	}
	if _, err := s.Stack(ctx, "s1"); err != nil {
		t.Errorf("a refused deletion took the stack: %v", err)
	}
	if err := s.DeleteStack(ctx, "s1", []string{"c1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Component(ctx, model.ArtifactStore, "one"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the component stayed: %v", err)
	}
}

func TestSettingsSecretsPluginsHosts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	if _, ok, err := s.Setting(ctx, "active_stack"); ok || err != nil {
		t.Errorf("a setting that was never set: %v, %v", ok, err)
	}
	for _, v := range []string{"one", "two"} {
		if err := s.SetSetting(ctx, "active_stack", v); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok, err := s.Setting(ctx, "active_stack"); v != "two" || !ok || err != nil {
		t.Errorf("setting is %q, %v, %v", v, ok, err)
	}
	if err := errors.Join(s.DeleteSetting(ctx, "active_stack"), s.DeleteSetting(ctx, "active_stack")); err != nil {
		t.Error(err)
	}

	sec := model.Secret{Name: "db", Keys: []string{"password", "user"}, CreatedAt: at(1), UpdatedAt: at(1)}
	if err := s.PutSecret(ctx, sec, []byte{1, 2}, true); err != nil {
		t.Fatal(err)
	}
	later := sec
	later.Keys, later.CreatedAt, later.UpdatedAt = []string{"user"}, at(2), at(2)
	_, _, missing := s.Secret(ctx, "nope")
	wants(t, []call{
		{"a taken name", s.PutSecret(ctx, sec, nil, true), model.ErrExists},
		{"updating nothing", s.PutSecret(ctx, model.Secret{Name: "nope"}, []byte{}, false), model.ErrNotFound},
		{"updating", s.PutSecret(ctx, later, []byte{3}, false), nil},
		{"no secret", missing, model.ErrNotFound},
		{"deleting nothing", s.DeleteSecret(ctx, "nope"), model.ErrNotFound},
	})
	later.CreatedAt = at(1)
	got, ciphertext, err := s.Secret(ctx, "db")
	if diff := cmp.Diff(later, got); diff != "" || err != nil || !cmp.Equal(ciphertext, []byte{3}) {
		t.Errorf("secret is %v, %v\n%s", ciphertext, err, diff)
	}
	if all, err := s.Secrets(ctx); err != nil || len(all) != 1 {
		t.Errorf("secrets are %v, %v", all, err)
	}
	if err := s.DeleteSecret(ctx, "db"); err != nil {
		t.Error(err)
	}

	p := model.Plugin{Name: "local", Path: "/p", Version: "1", Status: model.PluginOK, ApprovedAt: at(3),
		Flavors: []model.Flavor{{Type: model.Orchestrator, Name: "local", ConfigSchema: json.RawMessage(`{"a":1}`)}},
		File:    model.FileIdentity{Inode: 1 << 60, MtimeNS: 5}}
	for _, v := range []string{"1", "2"} {
		p.Version = v
		if err := s.PutPlugin(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	plugins, err := s.Plugins(ctx)
	if diff := cmp.Diff([]model.Plugin{p}, plugins); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := errors.Join(s.DeletePlugin(ctx, "local", "/p"), s.DeletePlugin(ctx, "local", "/p")); err != nil {
		t.Error(err)
	}

	h := model.Host{ID: "h1", PID: 7, Kind: "embedded", Version: "1", Socket: "/s", StartedAt: at(4)}
	if err := s.PutHost(ctx, h); err != nil {
		t.Fatal(err)
	}
	hosts, err := s.Hosts(ctx)
	if diff := cmp.Diff([]model.Host{h}, hosts); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if err := errors.Join(s.DeleteHost(ctx, "h1"), s.DeleteHost(ctx, "h1")); err != nil {
		t.Error(err)
	}
}

func TestDataVersionSeesEachCommit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	other, err := Open(ctx, s.Path(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	last, err := s.DataVersion(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []*Store{s, other, s} {
		if err := w.SetSetting(ctx, "k", string(rune('a'+i))); err != nil {
			t.Fatal(err)
		}
		v, err := s.DataVersion(ctx)
		if err != nil || v == last {
			t.Errorf("commit %d is not seen: %d, %v", i, v, err)
		}
		if again, err := s.DataVersion(ctx); err != nil || again != v {
			t.Errorf("without a commit it went from %d to %d, %v", v, again, err)
		}
		last = v
	}
}
