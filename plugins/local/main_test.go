package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/cairn-stack/cairn/sdk/wire/launch"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
)

// TestMain makes the test binary the plugin itself when a host starts it.
func TestMain(m *testing.M) {
	if os.Getenv(wire.CookieKey) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// inProcess serves the plugin over gRPC in this process.
func inProcess(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "local", Version: version}, flavors()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return conn
}

// configure makes an instance and gives its facts.
func configure(t testing.TB, conn grpc.ClientConnInterface, instance, componentType, cfg string, roots ...string) json.RawMessage {
	t.Helper()
	res, err := wire.NewClient(conn).Configure(t.Context(), wire.ConfigureRequest{
		Instance: instance, Type: componentType, Flavor: "local", Config: json.RawMessage(cfg), ExchangeRoots: roots,
		Component: wire.ComponentRef{ID: "id", Name: "mine", Revision: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Diagnostics.HasError() {
		t.Fatal(res.Diagnostics)
	}
	return res.Facts
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d, err := wire.NewClient(inProcess(t)).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range d.Flavors {
		got = append(got, f.Type+" "+f.Name+" "+strings.Join(f.Features, ","))
		if !f.MachineBound || f.SchemaVersion != 1 {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"orchestrator local ", "artifact-store local move,open,read_range,staging,view"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOrchestrator(t *testing.T) {
	t.Parallel()
	conn := inProcess(t)
	facts, err := wire.OrchestratorFactsFromJSON(configure(t, conn, "a", plugin.OrchestratorType, `{"max_parallel":3}`))
	if err != nil || facts != (wire.OrchestratorFacts{Attached: true, MaxParallel: 3}) {
		t.Errorf("facts are %+v, %v", facts, err)
	}
	facts, err = wire.OrchestratorFactsFromJSON(configure(t, conn, "b", plugin.OrchestratorType, `{}`))
	if err != nil || facts.MaxParallel != runtime.NumCPU() {
		t.Errorf("facts are %+v, %v; want one step a CPU", facts, err)
	}
	got, err := wire.NewOrchestratorClient(conn, "a").CanRun(t.Context(), []wire.PlannedStep{
		{Name: "fine", Execution: "attached", Timeout: time.Hour}, {Name: "far", Execution: "detached"},
		{Name: "big", Execution: "attached", Resources: wire.Resources{GPUs: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, d := range got {
		steps = append(steps, d.Step)
		if d.Diagnostic.Severity != diag.SeverityError || d.Diagnostic.Hint == "" {
			t.Errorf("%+v", d)
		}
	}
	if diff := cmp.Diff([]string{"far", "big"}, steps); diff != "" {
		t.Error(diff)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	tests := []struct{ componentType, cfg, want string }{
		{plugin.OrchestratorType, `{"max_parallel":0}`, "max_parallel: has to be at least 1, not 0"},
		{plugin.OrchestratorType, `{"max_paralel":2}`, "max_paralel: no attribute 'max_paralel'; did you mean 'max_parallel'?"},
		{plugin.ArtifactStoreType, `{}`, "path: attribute 'path' is missing: Directory that the artifacts are kept in; made on first use."},
		{plugin.ArtifactStoreType, `{"path":"here"}`, `path: has to be an absolute path: "here"`},
		{plugin.ArtifactStoreType, `{"path":"/"}`, "path: the root of the file system cannot be an artifact store"},
	}
	client := wire.NewClient(inProcess(t))
	for _, tt := range tests {
		res, err := client.Configure(t.Context(), wire.ConfigureRequest{
			Instance: "x", Type: tt.componentType, Flavor: "local", Config: json.RawMessage(tt.cfg)})
		if err != nil {
			t.Errorf("%s: %v", tt.cfg, err)
			continue
		}
		if len(res.Diagnostics) != 1 || res.Diagnostics[0].String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.cfg, res.Diagnostics, tt.want)
		}
	}
	_, err := client.Configure(t.Context(), wire.ConfigureRequest{Instance: "x", Type: plugin.ArtifactStoreType, Flavor: "locl"})
	if !errors.Is(err, diag.ErrNotFound) || !strings.Contains(err.Error(), "did you mean 'local'?") {
		t.Errorf("an unknown flavor gives %v", err)
	}
}

// start starts the plugin as a host does.
func start(t *testing.T) *launch.Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "crn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := launch.Start(t.Context(), launch.Options{Name: "local", Path: exe, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAsAProcess(t *testing.T) {
	t.Parallel()
	p := start(t)
	defer p.Stop()
	base := t.TempDir()
	s := openStoreOn(t, p.Conn(), base)
	key := "h/home/c/abc"
	item := s.write(t, key, "content", wire.TransferMove)
	if r := s.put(t, item); r.Err != nil {
		t.Fatal(r.Err)
	}
	if got, err := os.ReadFile(filepath.Join(base, "store", key)); err != nil || string(got) != "content" {
		t.Errorf("stored is %q, %v", got, err)
	}
}

func TestProcessEndsWithItsHost(t *testing.T) {
	t.Parallel()
	p := start(t)
	pid := p.PID()
	// What the host's death does: its end of the channel is closed.
	if err := p.Conn().(*grpc.ClientConn).Close(); err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	deadline := time.Now().Add(2 * time.Second)
	for alive(pid) {
		if time.Now().After(deadline) {
			t.Fatal("the plugin lives on 2 s after its channel ended")
		}
		runtime.Gosched()
	}
}

// alive reports whether a process runs; one that waits to be reaped does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestCancelledCallEndsSoon(t *testing.T) {
	t.Parallel()
	conn := inProcess(t)
	s := openStoreOn(t, conn, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.client.Stat(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat = %v, want canceled", err)
	}
}
