package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an engine on fakes.
type rig struct {
	t       *testing.T
	journal *MemJournal
	stack   *OneStack
	engine  *Engine
	staging string
}

func newRig(t *testing.T, edit ...func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, journal: NewMemJournal(), stack: &OneStack{Store: &DirStore{Root: filepath.Join(dir, "store")}}}
	r.staging = r.stack.Store.Facts().StagingDir
	r.engine = r.another("host-1", edit...)
	return r
}

// another is a further engine on the same journal and store.
func (r *rig) another(host string, edit ...func(*Config)) *Engine {
	r.t.Helper()
	dir := r.t.TempDir()
	cfg := Config{
		Journal: r.journal, Stacks: r.stack, HostID: host, HomeID: "home",
		StagingDir: filepath.Join(dir, "staging"),
		RunLog:     func(run string) string { return filepath.Join(dir, "logs", run, "run.log") },
		AttemptLog: func(run, a string) string { return filepath.Join(dir, "logs", run, a+".log") },
		StopGrace:  50 * time.Millisecond, SessionGrace: 50 * time.Millisecond,
		BusyRetry: 5 * time.Millisecond, IntentPoll: 5 * time.Millisecond,
		lazyDelay: time.Minute,
	}
	for _, f := range edit {
		f(&cfg)
	}
	r.journal.SetAlive(host, true)
	e := New(cfg)
	r.t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			r.t.Errorf("close: %v", err)
		}
	})
	return e
}

func (r *rig) create(spec model.Spec) string {
	r.t.Helper()
	id := r.engine.newID()
	if _, err := r.engine.CreateRun(r.t.Context(), NewRunRequest{ID: id, Project: "p", Spec: spec}); err != nil {
		r.t.Fatalf("create: %v", err)
	}
	return id
}

func (r *rig) program(run string, steps map[string]StepFunc) *Program {
	return &Program{Engine: r.engine, Run: run, Session: "s", Slots: 8, Steps: steps}
}

func (r *rig) record(run string) model.RunRecord {
	r.t.Helper()
	rec, err := r.journal.LoadRun(context.Background(), run)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// states gives "a:completed b:failed".
func (r *rig) states(run string) string {
	var s []string
	for _, st := range r.record(run).Steps {
		s = append(s, st.Name+":"+string(st.State))
	}
	return strings.Join(s, " ")
}

func spec(nodes ...model.Node) model.Spec { return model.Spec{Pipeline: "pipe", Nodes: nodes} }

func value(v string) StepFunc {
	return func(context.Context, Job) (*artifact.Result, error) { return Value("%q", v), nil }
}

func play(t *testing.T, p *Program, want model.RunState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	state, err := p.Play(ctx)
	if err != nil || state != want {
		t.Fatalf("the run ended %q, %v; want %q", state, err, want)
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a"), StepNode("b", "a"), StepNode("c", "b", "a")))
	var got []JobInput
	p := r.program(run, map[string]StepFunc{"a": value("A"), "b": value("B"), "c": func(_ context.Context, job Job) (*artifact.Result, error) {
		got = job.Inputs
		return Value("3"), nil
	}})
	play(t, p, model.RunCompleted)
	if s := r.states(run); s != "a:completed b:completed c:completed" {
		t.Error(s)
	}
	if len(got) != 2 || string(got[0].Inline) != `"B"` || string(got[1].Inline) != `"A"` {
		t.Errorf("inputs of c: %+v", got)
	}
	if r.journal.Commits != 4 {
		t.Errorf("%d commits for 3 steps, want 4", r.journal.Commits)
	}
	rec := r.record(run)
	if len(rec.Inputs) != 3 || rec.Inputs[0].ArtifactID != rec.Outputs["a"][0].ID {
		t.Errorf("lineage: %+v", rec.Inputs)
	}
}

func TestLongChainCommits(t *testing.T) {
	t.Parallel()
	const n = 1000
	r := newRig(t)
	nodes := []model.Node{StepNode("s0")}
	steps := map[string]StepFunc{"s0": value("")}
	for i := 1; i < n; i++ {
		name := fmt.Sprintf("s%d", i)
		nodes = append(nodes, StepNode(name, fmt.Sprintf("s%d", i-1)))
		steps[name] = value(name)
	}
	run := r.create(spec(nodes...))
	began := time.Now()
	play(t, r.program(run, steps), model.RunCompleted)
	t.Logf("%s a step", time.Since(began)/n)
	if c := r.journal.Commits; c < n+1 || c > n+1+n/20 {
		t.Errorf("%d commits for %d steps", c, n)
	}
}

func TestWideGraphKeepsToSlots(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.stack.Parallel = 3
	var nodes []model.Node
	steps := map[string]StepFunc{}
	for i := range 40 {
		name := fmt.Sprintf("s%d", i)
		nodes = append(nodes, StepNode(name))
		steps[name] = value(name)
	}
	run := r.create(spec(nodes...))
	p := r.program(run, steps)
	play(t, p, model.RunCompleted)
	if p.Most > 3 || len(p.Started) != 40 {
		t.Errorf("%d at once, %d started", p.Most, len(p.Started))
	}
}

func TestRetryThenSuccess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	n := StepNode("a")
	n.Step.Retry = model.RetryPolicy{MaxRetries: 2, InitialBackoff: time.Millisecond}
	run := r.create(spec(n))
	tries := 0
	p := r.program(run, map[string]StepFunc{"a": func(context.Context, Job) (*artifact.Result, error) {
		if tries++; tries < 3 {
			return nil, errors.New("not yet")
		}
		return Value("1"), nil
	}})
	play(t, p, model.RunCompleted)
	if a := r.record(run).Attempts["a"]; len(a) != 3 || a[0].State != model.AttemptFailed || a[0].Error != "not yet" {
		t.Errorf("attempts: %+v", a)
	}
}

func TestFailureModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[model.FailureMode]string{
		model.FailFast:      "bad:failed slow:cancelled after:skipped other:skipped",
		model.StopOnFailure: "bad:failed slow:completed after:skipped other:skipped",
		model.Continue:      "bad:failed slow:completed after:skipped other:completed",
	} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			after := StepNode("after")
			after.After = []string{"bad"}
			s := spec(StepNode("bad"), StepNode("slow"), after, StepNode("other", "slow"))
			s.FailureMode = mode
			run := r.create(s)
			failed := func() bool { return strings.Contains(r.states(run), "bad:failed") }
			began := make(chan struct{})
			p := r.program(run, map[string]StepFunc{
				"bad": func(context.Context, Job) (*artifact.Result, error) {
					<-began
					return nil, Permanent("no")
				},
				"slow": func(ctx context.Context, _ Job) (*artifact.Result, error) {
					close(began)
					if err := Until("the failure", failed); err != nil {
						return nil, err
					}
					if mode == model.FailFast {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return Value("1"), nil
				},
				"after": value("x"), "other": value("y"),
			})
			play(t, p, model.RunFailed)
			if got := r.states(run); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if e := r.record(run).Run.Error; e != "step 'bad' failed: no" {
				t.Error(e)
			}
		})
	}
}
