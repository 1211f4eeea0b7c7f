package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// runProgram runs a program against the fake host.
type runProgram struct {
	*program
	out, err lockedBuffer
	dir      string
	exited   chan int
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRun(t *testing.T, s scenario, env []string, args ...string) *runProgram {
	t.Helper()
	// A short path: a socket's is at most 107 bytes long.
	dir, err := os.MkdirTemp("", "cairn-fake-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "scenario.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env = append([]string{"CAIRN_BIN=" + self, "CAIRN_FAKE_HOST=" + dir, "PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	r := &runProgram{dir: dir, exited: make(chan int, 1)}
	r.program = &program{
		args: append([]string{"prog"}, args...), environ: env, signals: make(chan os.Signal, 4),
		stdout: &r.out, stderr: &r.err, exit: func(code int) { r.exited <- code },
		lookup: func(name string) (string, bool) {
			for i := len(env) - 1; i >= 0; i-- {
				if v, ok := strings.CutPrefix(env[i], name+"="); ok {
					return v, true
				}
			}
			return "", false
		},
	}
	return r
}

// seen reads what the host saw. The host has ended with the program.
func (r *runProgram) seen(t *testing.T) seen {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "seen.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s does not contain %q:\n%s", what, p, text)
		}
	}
}

// everything is the result of a step, with each kind of output.
type everything struct {
	Number float64
	Text   string
	Bytes  []byte
	Big    []int
	Rows   Table
	Notes  Markdown
	Report File `artifact:"report"`
	Tree   Folder
	Image  image.Image
	Whole  map[string][]time.Duration
}

func makeEverything(ctx context.Context, n int) (everything, error) {
	dir, err := From(ctx).ScratchDir()
	if err != nil {
		return everything{}, err
	}
	file := filepath.Join(dir, "report.txt")
	tree := filepath.Join(dir, "tree", "sub")
	err = errors.Join(os.WriteFile(file, []byte("report"), 0o600), os.MkdirAll(tree, 0o700), os.WriteFile(filepath.Join(tree, "f"), []byte("leaf"), 0o600))
	big := make([]int, 30_000)
	for i := range big {
		big[i] = i * n
	}
	img := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	img.Set(1, 1, color.NRGBA{200, 100, 50, 128})
	rows, terr := NewTable(Floats("x", []float64{0.1, 1e300}), Strings("s", []string{"a,\"b\"\r\n", ""}))
	return everything{
		Number: 0.1 + 0.2, Text: "text\xff", Bytes: []byte{0, 1, 255}, Big: big, Rows: rows, Notes: "# Notes",
		Report: File{file}, Tree: Folder{filepath.Dir(tree)}, Image: img,
		Whole: map[string][]time.Duration{"a": {time.Second}},
	}, errors.Join(err, terr)
}

// checkEverything compares in the step, so that a failure is the step's.
func checkEverything(ctx context.Context, got everything, rows Table) (string, error) {
	want, err := makeEverything(ctx, 2)
	if err != nil {
		return "", err
	}
	report, rerr := os.ReadFile(got.Report.Path)
	leaf, lerr := os.ReadFile(filepath.Join(got.Tree.Path, "sub", "f"))
	if err := errors.Join(rerr, lerr); err != nil {
		return "", err
	}
	if string(report) != "report" || string(leaf) != "leaf" || got.Image.At(1, 1) != want.Image.At(1, 1) {
		return "", fmt.Errorf("report %q, leaf %q, pixel %v", report, leaf, got.Image.At(1, 1))
	}
	got.Report, got.Tree, got.Image = want.Report, want.Tree, want.Image
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(rows, want.Rows) {
		return "", fmt.Errorf("got %+v", got)
	}
	From(ctx).Metric("checked", 1)
	From(ctx).Log().Info("all as it was")
	return "ok", nil
}

func TestRunPassesEveryKindOfValue(t *testing.T) {
	t.Parallel()
	produce, check := Fn1("make", makeEverything, "n"), Fn2("check", checkEverything)
	p := New("kinds", func(b *B, params struct {
		N int `default:"2"`
	}) {
		e := produce.Do(b, Lit(params.N))
		check.Do(b, e, Field(e, func(e *everything) *Table { return &e.Rows }), Artifact("verdict"))
	})
	r := newRun(t, scenario{Slots: 2}, []string{"CAIRN_STACK=other"}, "--label", "team=x", "--name", "first", "--stack", "mine")
	if code := r.run([]*Pipeline{p}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
	}
	contains(t, "output", r.out.String(),
		"Run kinds-1 of pipeline kinds on stack default: 2 steps", "✓ make", "✓ check", "checked=1",
		"Run kinds-1 completed in", "verdict:1", "report:1", "make.rows:1", "in artifact store default (local)",
		"cairn run describe kinds-1", "cairn artifact get verdict:1 --to FILE")
	s := r.seen(t)
	var create apiv1.CreateRunRequest
	unmarshalProto(t, s.Create, &create)
	if d := cmp.Diff([]string{"first", "mine", "other", "x"}, []string{create.GetName(), create.GetContext().GetStack(), create.GetContext().GetStackEnv(), create.GetLabels()["team"]}); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	key := create.GetPipeline().GetNodes()[0].GetStep().GetCodeKey()
	if key == "" || key != create.GetRecipe().GetCodeDigest() {
		t.Errorf("code key %q, recipe's %q", key, create.GetRecipe().GetCodeDigest())
	}
	if s.Provenance == nil || !strings.Contains(string(s.Provenance), "commandLine") {
		t.Errorf("provenance: %s", s.Provenance)
	}
	if big := s.Results["make"].Outputs[3]; big.Path != "out/big" || big.Inline != nil {
		t.Errorf("a long value is not a file: %q", big.Path)
	}
	if got := s.Results["make"].Outputs[6].Path; got != "scratch/report.txt" {
		t.Errorf("a file of the scratch directory is at %q", got)
	}
	log, err := os.ReadFile(filepath.Join(r.dir, "check-1.log"))
	if err != nil || !strings.Contains(string(log), "all as it was") {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestRunFailures(t *testing.T) {
	t.Parallel()
	type holder struct{ Values []float64 }
	zero := 0.0
	cases := []struct {
		name     string
		step     func(ctx context.Context) (holder, error)
		options  []Option
		attempts int
		kind     string
		message  []string
	}{
		{"error", func(context.Context) (holder, error) { return holder{}, errors.New("no data") }, nil, 1, "error", []string{"no data"}},
		{"retried", func(context.Context) (holder, error) { return holder{}, errors.New("no data") }, []Option{Retries(2)}, 3, "error", []string{"no data"}},
		{"permanent", func(context.Context) (holder, error) {
			return holder{}, fmt.Errorf("wrapped: %w", Permanent(errors.New("no use")))
		}, []Option{Retries(5)}, 1, "error", []string{"wrapped: no use"}},
		{"panic", func(context.Context) (holder, error) { return holder{innerPanic(nil)}, nil }, nil, 1, "panic", []string{"panic: runtime error: slice bounds out of range"}},
		{"timeout", func(ctx context.Context) (holder, error) {
			<-ctx.Done()
			return holder{}, ctx.Err()
		}, []Option{Timeout(20 * time.Millisecond)}, 1, "timeout", []string{"deadline"}},
		{"not-storable", func(context.Context) (holder, error) { return holder{[]float64{1, zero / zero}}, nil }, nil, 1, "output", []string{"holder.Values[1] is NaN", "cannot be stored"}},
		{"bad-metadata", func(ctx context.Context) (holder, error) {
			From(ctx).Metadata("f", func() {})
			return holder{}, nil
		}, nil, 1, "error", []string{"the metadata 'f' cannot be recorded"}},
		{"undeclared-secret", func(ctx context.Context) (holder, error) {
			_, err := From(ctx).Secret(ctx, "other")
			return holder{}, err
		}, []Option{Secrets("others")}, 1, "error", []string{"did not declare secret 'other'; did you mean 'others'?"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			step := Fn0("step", c.step)
			after := Proc0("after", func(context.Context) error { return nil })
			p := New("failing", func(b *B, _ NoParams) { after.Do(b, After(step.Do(b, c.options...))) })
			r := newRun(t, scenario{}, nil)
			if code := r.run([]*Pipeline{p}); code != 5 {
				t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
			}
			s := r.seen(t)
			f := s.Results["step"].Failure
			if s.Attempts["step"] != c.attempts || s.Attempts["after"] != 0 || string(f.Kind) != c.kind {
				t.Errorf("attempts %v, failure %+v", s.Attempts, f)
			}
			contains(t, "message", f.Message, c.message...)
			if strings.Contains(f.Trace, "runtime.") || strings.Contains(f.Trace, "goexit") {
				t.Errorf("the trace has frames of the runtime:\n%s", f.Trace)
			}
			contains(t, "output", r.out.String(), "✗ step", "failed", "cairn run logs failing-1 step", "cairn run resume failing-1")
			if r.err.String() != "" {
				t.Errorf("a failure of a step is told twice: %s", r.err.String())
			}
		})
	}
}

func innerPanic(v []float64) []float64 { return v[:len(v)+1] }

func TestRunStepsInParallelWithinSlots(t *testing.T) {
	t.Parallel()
	var busy, most atomic.Int32
	wide := Fn1("wide", func(_ context.Context, n int) (int, error) {
		now := busy.Add(1)
		defer busy.Add(-1)
		for {
			m := most.Load()
			if now <= m || most.CompareAndSwap(m, now) {
				break
			}
		}
		deadline := time.Now().Add(5 * time.Second)
		for most.Load() < 3 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		return n, nil
	})
	p := New("wide", func(b *B, _ NoParams) {
		for i := range 12 {
			wide.Named(fmt.Sprintf("wide-%d", i)).Do(b, Lit(i))
		}
	})
	r := newRun(t, scenario{Slots: 3}, nil)
	if code := r.run([]*Pipeline{p}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
	}
	if most.Load() != 3 {
		t.Errorf("%d steps ran at once; there are 3 slots", most.Load())
	}
	for name, n := range r.seen(t).Attempts {
		if n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
}

func TestBrokenSessionIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	var second string
	wait := Fn0("wait", func(context.Context) (bool, error) {
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if _, err := os.Stat(second); err == nil {
				return true, nil
			}
		}
		return false, errors.New("the session was not opened a second time")
	})
	p := New("session", func(b *B, _ NoParams) { wait.Do(b) })
	r := newRun(t, scenario{}, nil)
	second = filepath.Join(r.dir, "session-2")
	if code := r.run([]*Pipeline{p}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	slow := Fn0("slow", func(ctx context.Context) (int, error) {
		close(started)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	p := New("slow", func(b *B, _ NoParams) { slow.Do(b) })
	r := newRun(t, scenario{}, nil)
	go func() { <-started; r.signals <- os.Interrupt }()
	if code := r.run([]*Pipeline{p}); code != 130 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
	}
	s := r.seen(t)
	if !s.Stopped["slow"] || s.Results["slow"].Failure.Kind != "cancelled" {
		t.Errorf("%+v", s.Results["slow"].Failure)
	}
	contains(t, "output", r.out.String(), "cancelling run slow-1", "Run slow-1 cancelled")
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	started, over := make(chan struct{}), make(chan struct{})
	deaf := Fn0("deaf", func(context.Context) (int, error) { close(started); <-over; return 0, nil })
	p := New("deaf", func(b *B, _ NoParams) { deaf.Do(b) })
	r := newRun(t, scenario{}, nil)
	done := make(chan int, 1)
	go func() { done <- r.run([]*Pipeline{p}) }()
	<-started
	r.signals <- os.Interrupt
	r.signals <- syscall.SIGTERM
	select {
	case code := <-r.exited:
		if code != 130 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the program goes on after the second signal")
	}
	contains(t, "output", r.out.String(), "cairn run resume deaf-1")
	close(over)
	<-done
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	ask := Fn0("ask", func(ctx context.Context) (int, error) {
		s, err := From(ctx).Secret(ctx, "db")
		return len(s["password"]), err
	})
	p := New("secret", func(b *B, _ NoParams) { ask.Do(b, Secrets("db")) })
	r := newRun(t, scenario{Secrets: map[string]string{"password": "12345"}}, nil)
	if code := r.run([]*Pipeline{p}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
	}
	if got := string(r.seen(t).Results["ask"].Outputs[0].Inline); got != "5" {
		t.Errorf("got %s", got)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	one := Fn0("one", func(context.Context) (int, error) { return 1, nil })
	p := New("again", func(b *B, _ NoParams) { one.Do(b) })
	for _, r := range []*runProgram{
		newRun(t, scenario{}, nil, "--resume", "again-1"),
		newRun(t, scenario{}, []string{"CAIRN_RESUME=again-1"}),
	} {
		if code := r.run([]*Pipeline{p}); code != 0 {
			t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.err.String())
		}
		s := r.seen(t)
		var create apiv1.CreateRunRequest
		unmarshalProto(t, s.Create, &create)
		if s.Resumed != "again-1" {
			t.Errorf("resumed %q", s.Resumed)
		}
		if d := cmp.Diff([]string{"prog"}, create.GetRecipe().GetArgv()); d != "" {
			t.Errorf("the recipe would resume by itself (-want +got):\n%s", d)
		}
		contains(t, "output", r.out.String(), "Going on with run again-1")
	}
}

func TestHostErrors(t *testing.T) {
	t.Parallel()
	one := Fn0("one", func(context.Context) (int, error) { return 1, nil })
	two := Fn1("two", func(_ context.Context, n int) (int, error) { return n, nil })
	p := New("p", func(b *B, _ NoParams) { two.Do(b, one.Do(b)) })
	cases := []struct {
		name     string
		scenario scenario
		env      []string
		code     int
		stderr   []string
	}{
		{"not found", scenario{}, []string{"CAIRN_BIN=/nowhere/cairn"}, 3, []string{"CAIRN_BIN names /nowhere/cairn"}},
		{"does not serve", scenario{Silent: "boom"}, nil, 1, []string{"ended before it served (exit status 1)", "boom"}},
		{"not cairn", scenario{Line: "hello"}, nil, 1, []string{`is not cairn, or of another version: it said "hello"`}},
		{"error line", scenario{Line: `{"error":{"code":"refused","summary":"no home","hint":"do this"}}`}, nil, 4, []string{"error: no home", "hint: do this"}},
		{"other major", scenario{Line: `{"address":"unix:///x","version":"9.0.0","api_major":7}`}, nil, 2, []string{"speaks version 1", "(cairn 9.0.0) speaks version 7"}},
		{"refused", scenario{Refuse: &apiv1.Problem{Code: apiv1.ProblemCode_PROBLEM_CODE_NOT_FOUND, Summary: "no stack 'x'", Detail: "why", Hint: "stack list", Findings: []*apiv1.Finding{{Summary: "a finding"}}}}, nil, 3, []string{"error: no stack 'x'", "  why", "a finding", "hint: stack list"}},
		{"dies", scenario{DieAfter: 1}, nil, 6, []string{"lost the connection to the cairn host", "the fake host dies", "cairn run resume p-1"}},
		{"answers lost", scenario{DropCreate: 2}, nil, 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, c.scenario, c.env)
			if code := r.run([]*Pipeline{p}); code != c.code {
				t.Errorf("exit code %d, not %d\n%s", code, c.code, r.out.String())
			}
			contains(t, "standard error", r.err.String(), c.stderr...)
		})
	}
}

func TestFindCairn(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(path string, mode os.FileMode) string {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inPath, inBin := write("path/cairn", 0o700), write("module/bin/cairn", 0o700)
	write("bin/cairn", 0o700) // above the module
	write("module/go.mod", 0o600)
	write("module/a/b/f", 0o600)
	write("empty/go.mod", 0o600)
	write("plain/cairn", 0o600)
	cases := []struct {
		name, bin, path, dir, want string
	}{
		{"variable first", inBin, root + "/path", "module", inBin},
		{"then PATH", "", root + "/plain:" + root + "/path", "module/a", inPath},
		{"then the module", "", root + "/plain", "module/a/b", inBin},
		{"not above it", "", "", "empty", ""},
	}
	for _, c := range cases {
		env := map[string]string{"CAIRN_BIN": c.bin, "PATH": c.path}
		got, err := findCairn(func(k string) (string, bool) { v, ok := env[k]; return v, ok }, filepath.Join(root, c.dir))
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}
