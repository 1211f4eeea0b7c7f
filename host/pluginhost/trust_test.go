package pluginhost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := link(t, dir, "good")
	replace(t, path) // a copy, since its times are changed
	o := hostOptions(dir)
	o.Dev = false
	ctx := t.Context()
	fresh := func() *Manager { return newManager(t, another(o)) }

	m := fresh()
	_, err := m.Flavor(ctx, model.Orchestrator, "good")
	wantError(t, err, diag.NotFound, "plugin good is not approved", "cairn plugin approve "+path)
	if n := describedTimes(t, dir); n != 0 {
		t.Fatal("a plugin that is not approved was run")
	}

	dry, err := m.Approve(ctx, path, "", true)
	if err != nil || !dry.Changed || dry.Plugin.Digest == "" || dry.Plugin.Status != model.PluginNotApproved {
		t.Fatalf("got %+v, %v", dry, err)
	}
	if _, err := m.Approve(ctx, path, "sha256:"+strings.Repeat("0", 64), false); err == nil {
		t.Fatal("another digest than expected was approved")
	} else {
		wantError(t, err, diag.Refused, "another digest than expected")
	}
	if n := describedTimes(t, dir); n != 0 {
		t.Fatal("a plugin was run before its approval")
	}
	a, err := m.Approve(ctx, path, dry.Plugin.Digest, false)
	if err != nil || !a.Changed || a.Previous != "" || a.Plugin.ApprovedAt.IsZero() {
		t.Fatalf("got %+v, %v", a, err)
	}

	// Approved and known: nothing is run to list flavors.
	before := describedTimes(t, dir)
	m = fresh()
	if f, err := m.Flavor(ctx, model.ArtifactStore, "good"); err != nil || f.Plugin != "good" {
		t.Fatalf("got %+v, %v", f, err)
	}
	snapshot, err := m.Snapshot(ctx, fakeStack("good", dir)[1].Component)
	if err != nil || snapshot.PluginVersion != "1.0.0" || snapshot.PluginDigest != a.Plugin.Digest {
		t.Errorf("got %+v, %v", snapshot, err)
	}
	// The same bytes with a new time are hashed, not described.
	now := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh().Flavor(ctx, model.ArtifactStore, "good"); err != nil {
		t.Fatal(err)
	}
	if n := describedTimes(t, dir); n != before {
		t.Errorf("%d processes were started to list flavors", n-before)
	}

	// Other bytes.
	replace(t, path)
	m = fresh()
	_, err = m.Flavor(ctx, model.ArtifactStore, "good")
	wantError(t, err, diag.NotFound, "changed since it was approved", a.Plugin.Digest, "cairn plugin approve "+path)
	list, err := m.Plugins(ctx)
	if err != nil || len(list) != 1 || list[0].Status != model.PluginChanged {
		t.Errorf("got %+v, %v", list, err)
	}
	second, err := m.Approve(ctx, path, "", false)
	if err != nil || second.Previous != a.Plugin.Digest || !second.Changed {
		t.Fatalf("got %+v, %v", second, err)
	}
	if third, err := m.Approve(ctx, path, "", false); err != nil || third.Changed {
		t.Errorf("got %+v, %v", third, err)
	}
	if _, err := fresh().Flavor(ctx, model.ArtifactStore, "good"); err != nil {
		t.Error(err)
	}

	// Removed.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	list, err = fresh().Plugins(ctx)
	if err != nil || len(list) != 1 || list[0].Status != model.PluginMissing || list[0].Detail == "" {
		t.Errorf("got %+v, %v", list, err)
	}
}

// replace puts a binary of other bytes in the place of another, as an install
// does: a new file, renamed.
func replace(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := path + ".next"
	if err := os.WriteFile(next, append(b, '\n'), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// TestDevTrustsForNow: what was run under the override is not approved after.
func TestDevTrustsForNow(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := link(t, dir, "good")
	o := hostOptions(dir)
	if _, err := newManager(t, o).Flavor(t.Context(), model.Orchestrator, "good"); err != nil {
		t.Fatal(err)
	}
	o.Dev = false
	_, err := newManager(t, another(o)).Flavor(t.Context(), model.Orchestrator, "good")
	wantError(t, err, diag.NotFound, "not approved", path)
}

// TestBesideTheExecutable: trusted as they are, described anew when they
// change, also where the catalogue cannot be written.
func TestBesideTheExecutable(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := link(t, dir, "good")
	o := hostOptions(dir)
	o.Dev, o.Path = false, nil
	o.Executable = filepath.Join(dir, "bin", "cairn")
	if err := os.Symlink(path, o.Executable); err != nil {
		t.Fatal(err)
	}
	// Both are copies: the guard is started from the executable, and a link's
	// target would stand elsewhere.
	replace(t, path)
	replace(t, o.Executable)
	ask := func(want int) {
		t.Helper()
		list, err := newManager(t, another(o)).Plugins(t.Context())
		if err != nil || len(list) != 1 || list[0].Status != model.PluginOK || !list[0].BuiltIn || len(list[0].Flavors) != 2 {
			t.Fatalf("got %+v, %v", list, err)
		}
		if n := describedTimes(t, dir); n != want {
			t.Errorf("described %d times, not %d", n, want)
		}
	}
	ask(1)
	ask(1)
	replace(t, path)
	ask(2)
	ask(2)
	o.Catalogue.(*memory).readOnly = true
	replace(t, path)
	ask(3)
	ask(4)

	// What was never approved is forgotten with its file.
	c := o.Catalogue.(*memory)
	c.readOnly = false
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	list, err := newManager(t, another(o)).Plugins(t.Context())
	if err != nil || len(list) != 0 || len(c.rows) != 0 {
		t.Errorf("got %+v, %v, %v", list, c.rows, err)
	}
}
