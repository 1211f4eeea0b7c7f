package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

// home is a real journal with an artifact store in a directory.
type home struct {
	t     testing.TB
	store *store.Store
	stack *engine.OneStack
	dead  atomic.Bool
}

func newHome(t testing.TB) *home {
	t.Helper()
	h := &home{t: t, stack: &engine.OneStack{Store: &engine.DirStore{Root: filepath.Join(t.TempDir(), "store")}}}
	s, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "cairn.db"), store.Options{Alive: func(string) bool { return !h.dead.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	h.store = s
	return h
}

func (h *home) engine(host string) *engine.Engine {
	h.t.Helper()
	logs := h.t.TempDir()
	e := engine.New(engine.Config{
		Journal: h.store, Stacks: h.stack, HostID: host, HomeID: h.store.HomeID(), StagingDir: logs,
		RunLog:     func(run string) string { return filepath.Join(logs, run+".log") },
		AttemptLog: func(_, a string) string { return filepath.Join(logs, a+".log") },
		StopGrace:  50 * time.Millisecond, SessionGrace: 50 * time.Millisecond, IntentPoll: 5 * time.Millisecond,
	})
	h.t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			h.t.Errorf("close engine: %v", err)
		}
	})
	return e
}

func (h *home) create(e *engine.Engine, nodes ...model.Node) (string, model.Spec) {
	h.t.Helper()
	s := model.Spec{Pipeline: "pipe", Nodes: nodes}
	id := ulid.Make().String()
	if _, err := e.CreateRun(context.Background(), engine.NewRunRequest{ID: id, Project: "default", Spec: s, Snapshot: model.StackSnapshot{Name: "default"}}); err != nil {
		h.t.Fatal(err)
	}
	return id, s
}

func (h *home) play(p *engine.Program, want model.RunState) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if state, err := p.Play(ctx); err != nil || state != want {
		h.t.Fatalf("the run ended %q, %v; want %q", state, err, want)
	}
}

func (h *home) record(run string) model.RunRecord {
	h.t.Helper()
	rec, err := h.store.LoadRun(context.Background(), run)
	if err != nil {
		h.t.Fatal(err)
	}
	return rec
}

func TestOnTheRealStore(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	e := h.engine("host-1")
	flaky := engine.StepNode("flaky", "load")
	flaky.Step.Retry = model.RetryPolicy{MaxRetries: 1, InitialBackoff: time.Millisecond}
	run, spec := h.create(e, engine.StepNode("load"), flaky, engine.StepNode("train", "load", "flaky"), engine.StepNode("last", "train"))
	data := strings.Repeat("x", 200<<10)
	tries := 0
	broken := true
	steps := map[string]engine.StepFunc{
		"load": func(_ context.Context, job engine.Job) (*artifact.Result, error) {
			return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "d", Metadata: map[string]string{"rows": "3"}}}},
				os.WriteFile(filepath.Join(job.Dir, "d"), []byte(data), 0o600)
		},
		"flaky": func(context.Context, engine.Job) (*artifact.Result, error) {
			if tries++; tries == 1 {
				return nil, errors.New("once")
			}
			return engine.Value("1"), nil
		},
		"train": func(_ context.Context, job engine.Job) (*artifact.Result, error) {
			got, err := os.ReadFile(job.Inputs[0].Path)
			if err != nil || string(got) != data || string(job.Inputs[0].Metadata["rows"]) != "3" {
				return nil, fmt.Errorf("input: %w", err)
			}
			res := engine.Value("2")
			res.Metrics = artifact.Metrics{"loss": math.NaN(), "accuracy": 0.9}
			return res, nil
		},
		"last": func(context.Context, engine.Job) (*artifact.Result, error) {
			if broken {
				return nil, engine.Permanent("broken")
			}
			return engine.Value("3"), nil
		},
	}
	h.play(&engine.Program{Engine: e, Run: run, Session: "s", Slots: 2, Steps: steps}, model.RunFailed)
	rec := h.record(run)
	if rec.Run.Error != "step 'last' failed: broken" || rec.Run.Name != "pipe-1" {
		t.Errorf("run: %+v", rec.Run)
	}
	// Another host goes on with it: the run is final, so nobody owns it.
	broken = false
	two := h.engine("host-2")
	if _, err := two.ResumeRun(t.Context(), engine.ResumeRequest{Run: run, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	p := &engine.Program{Engine: two, Run: run, Session: "s", Slots: 2, Steps: steps}
	h.play(p, model.RunCompleted)
	if len(p.Started) != 1 {
		t.Errorf("the resume ran %v", p.Started)
	}
	rec = h.record(run)
	if m := rec.Steps[2].Metrics; !math.IsNaN(m["loss"]) || m["accuracy"] != 0.9 {
		t.Errorf("metrics: %v", m)
	}
	if len(rec.Attempts["flaky"]) != 2 || len(rec.Attempts["last"]) != 2 || len(rec.Inputs) != 4 || rec.Run.Epoch != 2 {
		t.Errorf("attempts %+v inputs %+v epoch %d", rec.Attempts, rec.Inputs, rec.Run.Epoch)
	}
}

func TestHostDeathOnTheRealStore(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	e := h.engine("host-1")
	run, spec := h.create(e, engine.StepNode("a"), engine.StepNode("b", "a"), engine.StepNode("c", "b"))
	if _, err := e.OpenSession(t.Context(), run, "s"); err != nil {
		t.Fatal(err)
	}
	reply, err := e.NextJob(t.Context(), engine.JobRequest{Run: run, Session: "s", FreeSlots: 1})
	if err != nil || len(reply.Start) != 1 {
		t.Fatalf("%+v %v", reply, err)
	}
	if err := engine.Leave(reply.Start[0], engine.Value("1"), nil); err != nil {
		t.Fatal(err)
	}
	two := h.engine("host-2")
	if _, err := two.ResumeRun(t.Context(), engine.ResumeRequest{Run: run, Spec: spec}); !errors.Is(err, model.ErrOwned) {
		t.Fatalf("a living owner: %v", err)
	}
	h.dead.Store(true)
	if _, err := two.ResumeRun(t.Context(), engine.ResumeRequest{Run: run, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	value := func(context.Context, engine.Job) (*artifact.Result, error) { return engine.Value("2"), nil }
	p := &engine.Program{Engine: two, Run: run, Session: "t", Slots: 1, Steps: map[string]engine.StepFunc{"b": value, "c": value}}
	h.play(p, model.RunCompleted)
	if got := strings.Join(p.Started, " "); got != "b c" {
		t.Errorf("the resume ran %s", got)
	}
	c, err := e.CompleteJob(t.Context(), run, "s", reply.Start[0].Attempt)
	if err != nil || c.Outcome != engine.OutcomeFenced {
		t.Errorf("the former owner says %+v %v", c, err)
	}
}

func TestCancelByIntentOnTheRealStore(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	e := h.engine("host-1")
	run, _ := h.create(e, engine.StepNode("a"))
	if err := h.store.AskCancel(t.Context(), run, "host-2", ulid.Make().String()); err != nil {
		t.Fatal(err)
	}
	if end, err := e.Wait(t.Context(), run); err != nil || end.State != model.RunCancelled {
		t.Errorf("%+v %v", end, err)
	}
}

// BenchmarkChainStep is one step of a chain: hand out, result, put, publish.
func BenchmarkChainStep(b *testing.B) {
	h := newHome(b)
	e := h.engine("host-1")
	nodes := []model.Node{engine.StepNode("s0")}
	value := func(context.Context, engine.Job) (*artifact.Result, error) { return engine.Value("1"), nil }
	steps := map[string]engine.StepFunc{"s0": value}
	for i := 1; i < b.N; i++ {
		name := fmt.Sprintf("s%d", i)
		nodes = append(nodes, engine.StepNode(name, fmt.Sprintf("s%d", i-1)))
		steps[name] = value
	}
	run, _ := h.create(e, nodes...)
	b.ResetTimer()
	h.play(&engine.Program{Engine: e, Run: run, Session: "s", Slots: 1, Steps: steps}, model.RunCompleted)
}
