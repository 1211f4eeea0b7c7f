package pluginhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func background() context.Context { return context.Background() }

// memory is a catalogue in memory.
type memory struct {
	mu       sync.Mutex
	rows     map[string]model.Plugin
	readOnly bool
}

func newMemory() *memory { return &memory{rows: map[string]model.Plugin{}} }

func (c *memory) Plugins(context.Context) ([]model.Plugin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []model.Plugin
	for _, p := range c.rows {
		out = append(out, p)
	}
	return out, nil
}

func (c *memory) PutPlugin(_ context.Context, p model.Plugin) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readOnly {
		return errors.New("the database is read-only")
	}
	c.rows[p.Path] = p
	return nil
}

func (c *memory) DeletePlugin(_ context.Context, _, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rows, path)
	return nil
}

// shortDir is a directory whose name is short enough for sockets.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// link makes the test binary the plugin of a name in dir/bin. A symbolic link:
// a hard one would change the identity of what other tests use.
func link(t testing.TB, dir, name string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, "cairn-plugin-"+name)
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostOptions are those of a host in dir. Its plugins stand in dir/bin, which
// is not beside the executable, so the test binary's own name is no plugin.
func hostOptions(dir string) Options {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{
		Catalogue: newMemory(), Executable: exe, RuntimeDir: filepath.Join(dir, "run"), HomeID: "home",
		Path: []string{filepath.Join(dir, "bin")}, HomePlugins: filepath.Join(dir, "plugins"), Dev: true,
		ExchangeRoots: []string{filepath.Join(dir, "exchange")}, StartTimeout: 20 * time.Second,
		Environ: []string{"PATH=/usr/bin:/bin", "TZ=" + filepath.Join(dir, "described"), "FAKE_TOKEN=t", "SECRET_OF_THE_HOST=s"},
	}
}

// another is the options of another host in the same home.
func another(o Options) Options {
	o.RuntimeDir = filepath.Join(filepath.Dir(o.RuntimeDir), "run"+randomHex()[:6])
	return o
}

func newManager(t testing.TB, o Options) *Manager {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(o.RuntimeDir); err == nil {
			t.Error("the runtime directory is left")
		}
	})
	return m
}

func fakeStack(flavor, path string) []ResolvedComponent {
	config, _ := json.Marshal(map[string]string{"path": path})
	return []ResolvedComponent{
		{Component: model.Component{ID: "o1", Type: model.Orchestrator, Name: "orc", Flavor: flavor, Revision: 1, SchemaVersion: 1}, Config: config},
		{
			Component: model.Component{ID: "a1", Type: model.ArtifactStore, Name: "sto", Flavor: flavor, Revision: 2, SchemaVersion: 1},
			Config:    config, Secrets: map[string]string{"s3.key": "hush"},
		},
	}
}

// described counts the launches that described a plugin.
func describedTimes(t testing.TB, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "described"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

func wantError(t *testing.T, err error, code diag.Code, parts ...string) {
	t.Helper()
	var e *diag.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T: %v", err, err)
	}
	text := e.Error() + " | " + e.Hint
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in %q", part, text)
		}
	}
	if e.Code != code {
		t.Errorf("code %s, not %s: %v", e.Code, code, err)
	}
	if e.Hint == "" {
		t.Errorf("no hint: %v", err)
	}
}

func TestOpenStack(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	s, err := m.OpenStack(t.Context(), fakeStack("good", dir))
	if err != nil {
		t.Fatal(err)
	}
	if f := s.Orchestrator().Facts(); !f.Attached || f.MaxParallel != 3 {
		t.Errorf("facts %+v", f)
	}
	if id := s.ArtifactStore().ID(); id != "store-of-sto" {
		t.Errorf("identity %q", id)
	}
	findings, err := s.Orchestrator().CanRun(t.Context(), []model.PlannedStep{
		{Name: "a", Execution: model.Attached}, {Name: "b", Execution: model.Detached},
	})
	if err != nil || len(findings) != 1 || findings[0].Step != "b" {
		t.Errorf("got %v, %v", findings, err)
	}
	results, err := s.ArtifactStore().Stat(t.Context(), []string{"k", "absent"})
	if err != nil || results[0].Err != nil || !errors.Is(results[1].Err, diag.ErrNotFound) {
		t.Errorf("got %+v, %v", results, err)
	}
	checks := m.Check(t.Context(), fakeStack("good", dir), true)
	for _, c := range checks {
		if c.Err != nil || c.State != "ok" || c.Latency != 1500*time.Microsecond {
			t.Errorf("got %+v", c)
		}
	}
	// One process serves both components; secrets reach only their own.
	one, two := checks[0].Diagnostics[0].Summary, checks[1].Diagnostics[0].Summary
	if strings.Fields(one)[1] != strings.Fields(two)[1] {
		t.Errorf("two processes: %q, %q", one, two)
	}
	if strings.Contains(one, "hush") || !strings.Contains(two, "hush") {
		t.Errorf("secrets: %q, %q", one, two)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNotConfigured: a plugin that lost its instances gets them again.
func TestNotConfigured(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	s, err := m.OpenStack(t.Context(), fakeStack("good", dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ArtifactStore().Stat(t.Context(), []string{"forget"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.ArtifactStore().Stat(t.Context(), []string{"k"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	item := model.PutItem{
		Key: "k", Path: filepath.Join(dir, "exchange", "f"), Size: 3,
		Digest: "sha256t:" + strings.Repeat("0", 64), Transfer: model.TransferMove,
	}
	if _, err := s.ArtifactStore().Stat(t.Context(), []string{"forget"}); err != nil {
		t.Fatal(err)
	}
	if res, err := s.ArtifactStore().PutFiles(t.Context(), []model.PutItem{item}); err != nil || res[0].Err != nil {
		t.Errorf("got %v, %v", res, err)
	}
	item.Path = "/etc/passwd"
	if _, err := s.ArtifactStore().PutFiles(t.Context(), []model.PutItem{item}); err == nil {
		t.Error("a path outside the exchange roots was sent")
	}
}

func TestPluginDies(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	s, err := m.OpenStack(t.Context(), fakeStack("good", dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.ArtifactStore().Stat(t.Context(), []string{"die"})
	wantError(t, err, diag.Plugin, "plugin good died", "SIGKILL", "out of luck")
	_, err = s.ArtifactStore().Stat(t.Context(), []string{"k"})
	wantError(t, err, diag.Plugin, "plugin good died")
	again, err := m.OpenStack(t.Context(), fakeStack("good", dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.ArtifactStore().Stat(t.Context(), []string{"k"}); err != nil {
		t.Error(err)
	}
	again.Close()
}

func TestOpenStackFails(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	for _, name := range []string{"good", "future", "blind"} {
		link(t, dir, name)
	}
	m := newManager(t, hostOptions(dir))
	store := func(change func(*ResolvedComponent)) []ResolvedComponent {
		s := fakeStack("good", dir)
		change(&s[1])
		return s
	}
	tests := map[string]struct {
		stack []ResolvedComponent
		code  diag.Code
		parts []string
	}{
		"unknown flavor": {
			store(func(c *ResolvedComponent) { c.Component.Flavor = "goood" }), diag.NotFound,
			[]string{"artifact store 'sto'", "no artifact-store flavor 'goood'", "did you mean 'good'", "cairn artifact-store flavor list"},
		},
		"bad config": {
			store(func(c *ResolvedComponent) { c.Config = json.RawMessage(`{"path":"bad"}`) }), diag.Invalid,
			[]string{"artifact store 'sto' cannot be configured", "path: is bad", "cairn artifact-store update sto"},
		},
		"newer contract": {
			store(func(c *ResolvedComponent) { c.Component.Flavor = "future" }), diag.Plugin,
			[]string{"no common version", "v7, v8", "upgrade cairn"},
		},
		"no shared files": {
			store(func(c *ResolvedComponent) { c.Component.Flavor = "blind" }), diag.Plugin,
			[]string{"does not see the files of this machine"},
		},
		"older plugin": {
			store(func(c *ResolvedComponent) { c.Component.SchemaVersion = 5 }), diag.Plugin,
			[]string{"older than the one that registered"},
		},
		"no store": {fakeStack("good", dir)[:1], diag.Invalid, []string{"needs an orchestrator and an artifact store"}},
		"two of them": {
			fakeStack("nothing-like-it", dir), diag.NotFound,
			[]string{"2 components", "orchestrator 'orc'", "artifact store 'sto'"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := m.OpenStack(t.Context(), tt.stack)
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			var e *diag.Error
			if errors.As(err, &e) && e.Hint == "" && len(e.Findings) > 0 {
				e.Hint = e.Findings[0].Hint
			}
			wantError(t, err, tt.code, tt.parts...)
		})
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	first := link(t, dir, "good")
	link(t, dir, "broken")
	link(t, dir, "liar")
	link(t, dir, "remote")
	link(t, dir, "UPPER")
	o := hostOptions(dir)
	other := filepath.Join(dir, "other")
	if err := os.MkdirAll(filepath.Join(other, "cairn-plugin-folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{
		filepath.Join(other, "cairn-plugin-good"):                0o700,
		filepath.Join(other, "cairn-plugin-plain"):               0o600,
		filepath.Join(other, "cairn-plugin-open"):                0o722,
		filepath.Join(other, "readme"):                           0o700,
		filepath.Join(o.HomePlugins, "ho", "cairn-plugin-ho"):    0o600,
		filepath.Join(o.HomePlugins, "ho", "cairn-plugin-other"): 0o700,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/false\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	o.Path = append(o.Path, other, filepath.Join(dir, "none"))
	m := newManager(t, o)
	list, err := m.Plugins(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range list {
		got[p.Name+" "+filepath.Base(filepath.Dir(p.Path))] = string(p.Status) + " " + p.Detail
	}
	want := map[string]string{
		"good bin":    "ok ",
		"good other":  "shadowed " + first,
		"broken bin":  "broken ",
		"liar bin":    "broken ",
		"remote bin":  "broken ",
		"plain other": "broken plugin plain is not executable",
		"open other":  "broken plugin open is not safe to run",
		"ho ho":       "broken ",
	}
	for k, prefix := range want {
		if !strings.HasPrefix(got[k], prefix) {
			t.Errorf("%s: got %q, want %q", k, got[k], prefix)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(got["broken bin"], "exited with status 4") || !strings.Contains(got["broken bin"], "cannot find my library") {
		t.Errorf("got %q", got["broken bin"])
	}
	// A broken plugin hides no other.
	if flavors, err := m.Flavors(t.Context(), model.Orchestrator); err != nil || len(flavors) != 1 || flavors[0].Name != "good" {
		t.Errorf("got %+v, %v", flavors, err)
	}
	if _, err := m.Plugin(t.Context(), "goood"); err == nil {
		t.Error("found")
	} else {
		wantError(t, err, diag.NotFound, "did you mean 'good'")
	}
}

// TestDeclaredEnvironment: a plugin gets the variables that it declares, and
// nothing else of the host's.
func TestDeclaredEnvironment(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	link(t, dir, "wants-env")
	m := newManager(t, hostOptions(dir))
	for flavor, want := range map[string]string{"good": "env  secrets", "wants-env": "env t secrets"} {
		// Both components at once: the plugin is described once.
		for _, c := range m.Check(t.Context(), fakeStack(flavor, dir), false) {
			if c.Err != nil || !strings.Contains(c.Diagnostics[0].Summary, want) {
				t.Errorf("%s: got %+v", flavor, c)
			}
		}
	}
	if n := describedTimes(t, dir); n != 2 {
		t.Errorf("two plugins were described %d times", n)
	}
	env := pluginEnv([]string{"AWS_REGION=x", "AWSX=1", "LC_ALL=C", "HOME=/h", "LD_PRELOAD=/x.so", "=odd", "TOKEN=t"},
		[]model.Flavor{{Env: []string{"AWS_*", "LD_PRELOAD", "*"}}})
	if want := []string{"AWS_REGION=x", "LC_ALL=C", "HOME=/h"}; !slices.Equal(env, want) {
		t.Errorf("got %v", env)
	}
}

func TestValidateConfig(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	list, err := m.ValidateConfig(t.Context(), model.ArtifactStore, "good", json.RawMessage(`{"path":"bad"}`))
	if err != nil || !list.HasError() || list[0].Path != "path" {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestNewRefusesALongDirectory(t *testing.T) {
	t.Parallel()
	o := hostOptions("/" + strings.Repeat("x", 60))
	_, err := New(o)
	wantError(t, err, diag.Invalid, "too long for a socket", "XDG_RUNTIME_DIR")
}

func TestClosedManager(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	var wg sync.WaitGroup
	wg.Go(func() {
		// Closing in the middle of a launch ends it.
		s, err := m.OpenStack(t.Context(), fakeStack("good", dir))
		if err == nil {
			s.Close()
		}
	})
	m.Close()
	wg.Wait()
	if _, err := m.OpenStack(t.Context(), fakeStack("good", dir)); err == nil {
		t.Error("a closed manager opens stacks")
	}
}

func TestCleanCloseLeavesNoGuard(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	link(t, dir, "good")
	m := newManager(t, hostOptions(dir))
	s, err := m.OpenStack(t.Context(), fakeStack("good", dir))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.Fields(m.Check(t.Context(), fakeStack("good", dir)[:1], false)[0].Diagnostics[0].Summary)[1])
	s.Close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if !processGone(pid) {
		t.Error("the plugin is left")
	}
	if left := guardsOf(filepath.Join(dir, "run")); left != "" {
		t.Errorf("a guard is left: %s", left)
	}
}

// guardsOf lists the guards of a runtime directory.
func guardsOf(dir string) string {
	found := ""
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if cmd, _ := os.ReadFile(d + "/cmdline"); strings.Contains(string(cmd), dir) && strings.Contains(string(cmd), "__guard") {
			found += fmt.Sprint(filepath.Base(d), " ")
		}
	}
	return found
}
