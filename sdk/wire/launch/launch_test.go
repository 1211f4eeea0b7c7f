package launch

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// groups records what a launch tells a guard.
type groups struct {
	mu           sync.Mutex
	alive, ended map[int]bool
}

func newGroups() *groups { return &groups{alive: map[int]bool{}, ended: map[int]bool{}} }

func (g *groups) Add(pgid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive[pgid] = true
	return nil
}

func (g *groups) Remove(pgid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.alive, pgid)
	g.ended[pgid] = true
	return nil
}

func options(t testing.TB, mode string) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{
		Name: "test", Path: exe, Dir: dir, Env: []string{envMode + "=" + mode},
		StartTimeout: 20 * time.Second, Grace: time.Second, Groups: newGroups(),
	}
}

func start(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%+v", err, err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

func TestStartAndStop(t *testing.T) {
	t.Parallel()
	o := options(t, "good")
	o.Grace = 5 * time.Second
	p := start(t, o)
	d, err := wire.NewClient(p.Conn()).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "test" || d.Version != "1.2.3" {
		t.Errorf("got %+v", d)
	}
	parts := strings.Split(d.Flavors[0].Summary, "|")
	for _, name := range strings.Split(parts[0], ",") {
		switch {
		case name == envMode, name == wire.CookieKey, name == wire.EnvChannelFD, name == "PWD":
		case strings.HasPrefix(name, "PLUGIN_"):
		default:
			t.Errorf("the plugin was given the variable %s", name)
		}
	}
	if parts[1] != "/dev/null" && parts[1] != "" {
		t.Errorf("the plugin's standard input is %s", parts[1])
	}
	if want, _ := filepath.EvalSymlinks(o.Dir); parts[2] != want {
		t.Errorf("the plugin's directory is %s, not %s", parts[2], want)
	}
	if parts[3] != "0" {
		t.Errorf("the plugin does not lead its group")
	}
	begin := time.Now()
	if !p.Stop() {
		t.Error("the plugin did not stop")
	}
	if d := time.Since(begin); d > o.Grace {
		t.Errorf("a polite plugin took %s to stop", d)
	}
	g := o.Groups.(*groups)
	if len(g.alive) != 0 || !g.ended[p.PID()] {
		t.Errorf("the guard knows %v, was told the end of %v", g.alive, g.ended)
	}
	if got := p.proc.exit(); got != "exited with status 0" {
		t.Errorf("the plugin %s", got)
	}
}

// TestNotAPlugin starts what is none, or one that does not fit: each is a clear
// error within the time limit, and leaves no process.
func TestNotAPlugin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want string // in the summary
		hint string
		slow bool // ends by the time limit
	}{
		"silent":       {want: "wrote no handshake within", slow: true},
		"exit":         {want: "exited with status 3 before its handshake"},
		"close-stdout": {want: "closed its output before its handshake"},
		"garbage":      {want: `wrote "hello from a program that is no plugin" where its handshake is expected`, hint: "write nothing before it serves"},
		"giant-line":   {want: "more than 4096 bytes"},
		"binary":       {want: "not printable"},
		"certificate":  {want: "certificate"},
		"tcp":          {want: "not unix"},
		"outside":      {want: "outside the directory"},
		"newer":        {want: "speaks version 2 of the plugin protocol, and this cairn speaks version 1", hint: "upgrade cairn"},
		"no-server":    {want: "did not answer its first call", slow: true},
		"hang-up":      {want: "does not start"},
		"stop-early":   {want: "wrote no handshake within", slow: true},
	}
	for mode, tt := range tests {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := options(t, mode)
			if tt.slow {
				o.StartTimeout = 700 * time.Millisecond
			}
			begin := time.Now()
			p, err := Start(t.Context(), o)
			if err == nil {
				p.Kill()
				t.Fatal("it started")
			}
			if d := time.Since(begin); d > 15*time.Second {
				t.Errorf("it took %s", d)
			}
			var e *diag.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %T: %v", err, err)
			}
			if e.Code != diag.Plugin || !strings.Contains(e.Summary, tt.want) || e.Hint == "" || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %+v, want %q", e, tt.want)
			}
			if strings.ContainsAny(e.Error(), "\x1b\x00") {
				t.Errorf("control characters in %q", e.Error())
			}
			if mode == "exit" && !strings.Contains(e.Detail, "no licence found") {
				t.Errorf("the last lines are missing: %s", e.Detail)
			}
			g := o.Groups.(*groups)
			g.mu.Lock()
			defer g.mu.Unlock()
			for pgid := range g.ended {
				if !gone(pgid) {
					t.Errorf("process group %d is left", pgid)
				}
			}
			if len(g.alive) != 0 || len(g.ended) != 1 {
				t.Errorf("groups: %v alive, %v ended", g.alive, g.ended)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]struct{ path, want, hint string }{
		"missing":        {filepath.Join(dir, "none"), "is missing", "install"},
		"directory":      {dir, "not a file", "executable file"},
		"not executable": {write("plain", "x", 0o644), "not executable", "chmod +x"},
		"other machine":  {write("elf", "\x7fELFnonsense", 0o755), "cannot be started", "for this machine"},
		"no interpreter": {write("script", "#!/no/such/interpreter\n", 0o755), "cannot be started", "install what"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, "good")
			o.Path = tt.path
			_, err := Start(t.Context(), o)
			var e *diag.Error
			if !errors.As(err, &e) || e.Code != diag.Plugin || !strings.Contains(e.Summary, tt.want) || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %#v", err)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	o := options(t, "good")
	refused := errors.New("another file")
	o.Verify = func(f *os.File) error {
		if f.Name() != o.Path {
			t.Errorf("verifying %s", f.Name())
		}
		return refused
	}
	if _, err := Start(t.Context(), o); err != refused {
		t.Errorf("got %v", err)
	}
	if g := o.Groups.(*groups); len(g.alive)+len(g.ended) != 0 {
		t.Error("a process was started")
	}
}

func TestStartIsCancelled(t *testing.T) {
	t.Parallel()
	o := options(t, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := Start(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestStopIsBounded stops plugins that do not want to, or cannot.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"stubborn", "grandchild", "stop-late", "stdout-flood", "stderr-flood"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := options(t, mode)
			p := start(t, o)
			client := wire.NewClient(p.Conn())
			if mode == "stop-late" {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if _, err := client.Check(ctx, "i", wire.DepthReachable); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("got %v", err)
				}
			} else if _, err := client.Describe(t.Context()); err != nil {
				t.Fatal(err)
			}
			var grandchild int
			if mode == "grandchild" {
				grandchild = grandchildOf(t, p)
			}
			begin := time.Now()
			if !p.Stop() {
				t.Error("the process is still there")
			}
			if d := time.Since(begin); d > o.Grace+5*time.Second {
				t.Errorf("stopping took %s", d)
			}
			if !gone(p.PID()) {
				t.Error("the group is still there")
			}
			if grandchild != 0 {
				waitFor(t, func() bool { return processGone(grandchild) })
			}
		})
	}
}

func grandchildOf(t *testing.T, p *Process) int {
	t.Helper()
	var pid int
	waitFor(t, func() bool {
		for _, line := range p.LastLines() {
			if n, ok := strings.CutPrefix(line, "grandchild "); ok {
				pid, _ = strconv.Atoi(n)
			}
		}
		return pid != 0
	})
	return pid
}

func TestDeadPluginIsExplained(t *testing.T) {
	t.Parallel()
	p := start(t, options(t, "die"))
	_, err := wire.NewClient(p.Conn()).Check(t.Context(), "i", wire.DepthReachable)
	err = p.Explain(err)
	var e *diag.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T: %v", err, err)
	}
	if e.Code != diag.Plugin || !strings.Contains(e.Summary, "killed by signal SIGKILL") || !strings.Contains(e.Detail, "about to die") {
		t.Errorf("got %+v", e)
	}
	if !errors.Is(err, diag.ErrUnavailable) {
		t.Error("the cause is lost")
	}
	if p.Running() {
		t.Error("it runs")
	}
}

// TestChildrenDieWithTheirParent: a plugin that ends by itself leaves nothing.
func TestChildrenDieWithTheirParent(t *testing.T) {
	t.Parallel()
	p := start(t, options(t, "grandchild"))
	grandchild := grandchildOf(t, p)
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the end of the process is not seen")
	}
	waitFor(t, func() bool { return processGone(grandchild) })
}

// recorder keeps records for a test.
type recorder struct {
	slog.Handler
	mu      sync.Mutex
	records []slog.Record
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec)
	return nil
}

func (r *recorder) count(level slog.Level, part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, rec := range r.records {
		if rec.Level == level && strings.Contains(rec.Message, part) {
			n++
		}
	}
	return n
}

func TestLogs(t *testing.T) {
	t.Parallel()
	o := options(t, "bad-json")
	rec := &recorder{}
	o.Logger = slog.New(rec)
	p := start(t, o)
	waitFor(t, func() bool { return rec.count(slog.LevelError, "goroutine 1") == 1 })
	p.Stop()
	if rec.count(slog.LevelWarn, "disk nearly full") != 1 {
		t.Error("the structured line is lost")
	}
	if rec.count(slog.LevelDebug, `{"@message":1}`) != 1 {
		t.Error("the malformed line is not passed on as text")
	}
	if rec.count(slog.LevelError, "panic: boom") != 1 {
		t.Error("the panic is not an error")
	}
	if rec.count(slog.LevelDebug, "?[31mred?") != 1 {
		t.Error("control characters pass")
	}
}

func TestLogFlood(t *testing.T) {
	t.Parallel()
	o := options(t, "stderr-flood")
	rec := &recorder{}
	o.Logger = slog.New(rec)
	p := start(t, o)
	waitFor(t, func() bool { return rec.count(slog.LevelWarn, "lines were dropped") > 0 })
	p.Kill()
	if n := rec.count(slog.LevelInfo, "line"); n > 20*burst {
		t.Errorf("%d lines came through", n)
	}
	if n := len(p.LastLines()); n != keptLines {
		t.Errorf("%d lines are kept", n)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, err := Start(t.Context(), options(t, "good"))
			if err != nil {
				t.Error(err)
				return
			}
			if !p.Stop() || !gone(p.PID()) {
				t.Error("it did not stop")
			}
		})
	}
	wg.Wait()
}

// gone reports whether a process group has no member; a zombie counts as gone.
func gone(pgid int) bool { return syscall.Kill(-pgid, 0) != nil || processGone(pgid) }

func processGone(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 10 s")
		}
	}
}

// BenchmarkLaunch is from launch to the first answer, and the stop.
func BenchmarkLaunch(b *testing.B) {
	o := options(b, "good")
	for b.Loop() {
		p, err := Start(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		p.Stop()
		b.StartTimer()
	}
}
