package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestCompleteJobTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	job := r.first(r.engine, run)
	r.leave(job, Value("1"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if c, err := r.engine.CompleteJob(t.Context(), run, "s", job.Attempt); err != nil || c.Outcome != OutcomePublished {
				t.Errorf("%+v %v", c, err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, c := range r.journal.Log {
		if _, ok := c.Op.(model.PublishStep); ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("published %d times", n)
	}
	_, err := r.engine.CompleteJob(t.Context(), run, "s", "nothing")
	wantCode(t, err, diag.NotFound, "no attempt")
}

func TestCreateRunTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	req := NewRunRequest{ID: r.engine.newID(), Project: "p", Spec: spec(StepNode("a"))}
	a, err := r.engine.CreateRun(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.engine.CreateRun(t.Context(), req)
	if err != nil || a.Run.ID != b.Run.ID || a.Run.Name != b.Run.Name {
		t.Fatalf("%+v %+v %v", a, b, err)
	}
	play(t, r.program(req.ID, map[string]StepFunc{"a": value("x")}), model.RunCompleted)
	if c, err := r.engine.CreateRun(t.Context(), req); err != nil || c.Run.State != model.RunCompleted {
		t.Fatalf("%+v %v", c, err)
	}
	if len(r.journal.runs) != 1 {
		t.Errorf("%d runs", len(r.journal.runs))
	}
}

func TestCreateRunIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.stack.Findings = []StepFinding{{Step: "a", Summary: "too large", Hint: "Make it smaller."}, {Summary: "slow", Warning: true}}
	_, err := r.engine.CreateRun(t.Context(), NewRunRequest{ID: "r", Spec: spec(StepNode("a"))})
	wantCode(t, err, diag.Refused, "a: too large")
	if len(r.journal.runs) != 0 || r.stack.Open != 0 {
		t.Errorf("%d runs, %d open stacks", len(r.journal.runs), r.stack.Open)
	}
	r.stack.Findings = r.stack.Findings[1:]
	started, err := r.engine.CreateRun(t.Context(), NewRunRequest{ID: r.engine.newID(), Spec: spec(StepNode("a"))})
	if err != nil || len(started.Warnings) != 1 || started.Warnings[0].Summary != "slow" {
		t.Errorf("%+v %v", started, err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"the step stops": true, "the step does not stop": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			run := r.create(spec(StepNode("a"), StepNode("b", "a")))
			began, let := make(chan struct{}), make(chan struct{})
			t.Cleanup(func() { close(let) })
			p := r.program(run, map[string]StepFunc{"a": func(ctx context.Context, _ Job) (*artifact.Result, error) {
				close(began)
				if heeds {
					<-ctx.Done()
				} else {
					<-let
				}
				return nil, errors.New("stopped")
			}})
			go func() {
				<-began
				if err := r.engine.Cancel(context.Background(), run); err != nil {
					t.Errorf("cancel: %v", err)
				}
			}()
			go p.Play(t.Context())
			end, err := r.engine.Wait(t.Context(), run)
			if err != nil || end.State != model.RunCancelled || end.Err != nil {
				t.Fatalf("%+v %v", end, err)
			}
			if got := r.states(run); got != "a:cancelled b:cancelled" {
				t.Error(got)
			}
			wantCode(t, r.engine.Cancel(t.Context(), run), diag.Refused, "ended already")
		})
	}
}

// A program that lost its host cancels its steps, and a result of that kind may
// stand when the next host looks. Nobody asked for it: the attempt is lost, which
// uses up no retry, and the step runs again.
func TestCancelledWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	play(t, r.program(run, map[string]StepFunc{"a": func(_ context.Context, job Job) (*artifact.Result, error) {
		if job.Number == 1 {
			return &artifact.Result{Failure: &artifact.Failure{Kind: artifact.FailureCancelled, Message: "context canceled"}}, nil
		}
		return Value("1"), nil
	}}), model.RunCompleted)
	rec := r.record(run)
	attempts := rec.Attempts["a"]
	if len(attempts) != 2 || attempts[0].State != model.AttemptLost || attempts[1].State != model.AttemptCompleted {
		t.Errorf("attempts are %+v", attempts)
	}
	if s := rec.Steps[0]; s.Failures != 0 || s.Losses != 1 {
		t.Errorf("%d failures, %d losses", s.Failures, s.Losses)
	}
}

func TestCancelByIntent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	two := r.another("host-2")
	if err := two.Cancel(t.Context(), run); !errors.Is(err, model.ErrOwned) {
		t.Fatalf("cancel by another host: %v", err)
	}
	r.journal.AskCancel(run)
	if end, err := r.engine.Wait(t.Context(), run); err != nil || end.State != model.RunCancelled {
		t.Fatalf("%+v %v", end, err)
	}
}

func TestCancelOfAnInterruptedRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	r.first(r.engine, run)
	r.journal.SetAlive("host-1", false)
	two := r.another("host-2")
	if err := two.Cancel(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if rec := r.record(run); rec.Run.State != model.RunCancelled || r.states(run) != "a:cancelled b:cancelled" {
		t.Errorf("%s %s", rec.Run.State, r.states(run))
	}
	wantCode(t, two.Cancel(t.Context(), "none"), diag.NotFound, "no run")
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	t.Run("the step heeds it", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		n := StepNode("a")
		n.Step.Timeout = 20 * time.Millisecond
		n.Step.Retry = model.RetryPolicy{MaxRetries: 1, InitialBackoff: time.Millisecond}
		run := r.create(spec(n))
		play(t, r.program(run, map[string]StepFunc{"a": func(ctx context.Context, _ Job) (*artifact.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}), model.RunFailed)
		a := r.record(run).Attempts["a"]
		if len(a) != 2 || a[1].State != model.AttemptTimedOut || !strings.Contains(a[1].Error, "timed out after 20ms") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a result that comes late is taken", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *Config) { c.StopGrace = 10 * time.Second })
		n := StepNode("a")
		n.Step.Timeout = time.Millisecond
		run := r.create(spec(n))
		play(t, r.program(run, map[string]StepFunc{"a": func(ctx context.Context, _ Job) (*artifact.Result, error) {
			<-ctx.Done()
			return Value("1"), nil
		}}), model.RunCompleted)
	})
	t.Run("the slot stays taken until the step ends", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.stack.Parallel = 1
		let := make(chan struct{})
		n := StepNode("a")
		n.Step.Timeout = 5 * time.Millisecond
		s := spec(n, StepNode("b"))
		s.FailureMode = model.Continue
		run := r.create(s)
		p := r.program(run, map[string]StepFunc{"a": func(context.Context, Job) (*artifact.Result, error) {
			<-let
			return Value("1"), nil
		}, "b": value("x")})
		p.Slots = 1
		go p.Play(t.Context())
		end, err := r.engine.Wait(t.Context(), run)
		close(let)
		if err != nil || end.State != model.RunFailed {
			t.Fatalf("%+v %v", end, err)
		}
		if b := r.record(run).Steps[1]; b.State != model.StepFailed || !strings.Contains(b.Error, "hung") || !strings.Contains(b.Error, "'a'") {
			t.Errorf("b: %+v", b)
		}
	})
	t.Run("a step that ends after its fence frees the slot", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		n := StepNode("a")
		n.Step.Timeout = 5 * time.Millisecond
		n.Step.Retry = model.RetryPolicy{MaxRetries: 1, InitialBackoff: time.Millisecond}
		run := r.create(spec(n))
		tries := 0
		var mu sync.Mutex
		second := make(chan struct{})
		p := r.program(run, map[string]StepFunc{"a": func(context.Context, Job) (*artifact.Result, error) {
			mu.Lock()
			tries++
			first := tries == 1
			mu.Unlock()
			if first {
				<-second
				return Value("late"), nil
			}
			close(second)
			return Value("1"), nil
		}})
		play(t, p, model.RunCompleted)
		rec := r.record(run)
		if len(rec.Attempts["a"]) != 2 || string(rec.Outputs["a"][0].Inline) != "1" {
			t.Errorf("%+v %+v", rec.Attempts, rec.Outputs)
		}
	})
}

func TestBusyJournalPauses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	r.journal.mu.Lock()
	tries := 0
	r.journal.Fail = func([]model.Change) error {
		if tries++; tries < 4 {
			return fmt.Errorf("disk is full: %w", model.ErrBusy)
		}
		return nil
	}
	r.journal.mu.Unlock()
	play(t, r.program(run, map[string]StepFunc{"a": value("x")}), model.RunCompleted)
	if tries < 4 {
		t.Errorf("tried %d times", tries)
	}
}

func TestPausedRunCanBeClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	job := r.first(r.engine, run)
	r.journal.mu.Lock()
	r.journal.Fail = func([]model.Change) error { return model.ErrBusy }
	r.journal.mu.Unlock()
	r.leave(job, Value("1"))
	go r.engine.CompleteJob(t.Context(), run, "s", job.Attempt)
	if err := Until("the pause", func() bool { return r.engine.Paused(run) != nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.engine.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	end, _ := r.engine.Wait(t.Context(), run)
	wantCode(t, end.Err, diag.Interrupted, "host ends")
}

func TestRefusedChangeStopsTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	r.journal.mu.Lock()
	r.journal.Fail = func(changes []model.Change) error {
		if slices.ContainsFunc(changes, func(c model.Change) bool { _, ok := c.Op.(model.PublishStep); return ok }) {
			return model.ErrConflict
		}
		return nil
	}
	r.journal.mu.Unlock()
	p := r.program(run, map[string]StepFunc{"a": value("x")})
	_, err := p.Play(t.Context())
	wantCode(t, err, diag.Internal, "refused a change")
}

type fakeSecrets map[string]map[string]string

func (f fakeSecrets) SecretValues(_ context.Context, name string) (map[string]string, error) {
	if v, ok := f[name]; ok {
		return v, nil
	}
	return nil, diag.Errorf(diag.NotFound, "there is no secret '%s'", name).WithHint("cairn secret create %s", name)
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Secrets = fakeSecrets{"db": {"password": "p"}, "other": {}} })
	n := StepNode("a")
	n.Step.Secrets = []string{"db", "gone"}
	_, err := r.engine.CreateRun(t.Context(), NewRunRequest{ID: "r", Spec: spec(n)})
	wantCode(t, err, diag.Refused, "no secret 'gone'")
	n.Step.Secrets = []string{"db"}
	run := r.create(spec(n))
	job := r.first(r.engine, run)
	v, err := r.engine.StepSecret(t.Context(), run, job.Attempt, "db")
	if err != nil || v["password"] != "p" {
		t.Errorf("%v %v", v, err)
	}
	_, err = r.engine.StepSecret(t.Context(), run, job.Attempt, "dbs")
	wantCode(t, err, diag.Refused, "did you mean 'db'?")
	_, err = r.engine.StepSecret(t.Context(), run, "none", "db")
	wantCode(t, err, diag.Refused, "does not run")
}

func TestProvenanceRidesAlong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	if err := r.engine.SetProvenance(t.Context(), run, model.Provenance{GitCommit: "abc"}); err != nil {
		t.Fatal(err)
	}
	play(t, r.program(run, map[string]StepFunc{"a": value("x")}), model.RunCompleted)
	if c := r.record(run).Provenance.GitCommit; c != "abc" {
		t.Errorf("commit %q", c)
	}
	if r.journal.Commits != 2 {
		t.Errorf("%d commits", r.journal.Commits)
	}
}

func TestAProgramAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	r.open(r.engine, run)
	_, err := r.engine.OpenSession(t.Context(), run, "other")
	wantCode(t, err, diag.Refused, "has a program")
	_, err = r.engine.NextJob(t.Context(), JobRequest{Run: run, Session: "other", FreeSlots: 1})
	wantCode(t, err, diag.Refused, "another program")
	_, err = r.engine.OpenSession(t.Context(), "none", "s")
	wantCode(t, err, diag.Refused, "not driven")
}

func TestPollBeforeSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	got := make(chan JobReply, 1)
	go func() {
		reply, _ := r.engine.NextJob(t.Context(), JobRequest{Run: run, Session: "s", FreeSlots: 1})
		got <- reply
	}()
	run1 := r.engine.active(run)
	if err := Until("the poll", func() bool {
		early := false
		_ = run1.do(t.Context(), func() { early = run1.early != nil })
		return early
	}); err != nil {
		t.Fatal(err)
	}
	r.open(r.engine, run)
	if reply := <-got; len(reply.Start) != 1 {
		t.Errorf("%+v", reply)
	}
}
