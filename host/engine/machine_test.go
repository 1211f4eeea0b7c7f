package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-stack/cairn/host/model"
)

// world is a run as the model-based test knows it: a strict journal, the machine
// of the owner, and what outlives a host (directories, results).
type world struct {
	t       *rapid.T
	journal *MemJournal
	plan    *plan
	m       *machine
	now     time.Time
	ids     int
	lazy    []model.Change
	// made are the attempts whose directory was made; left those whose result
	// stands in it.
	made, left map[string]bool
	published  map[string]int
	cancelled  bool
}

const simRun = "run"

func drawSpec(t *rapid.T) model.Spec {
	s := model.Spec{Pipeline: "pipe", FailureMode: rapid.SampledFrom([]model.FailureMode{
		model.FailFast, model.StopOnFailure, model.Continue}).Draw(t, "mode")}
	n := rapid.IntRange(1, 7).Draw(t, "steps")
	for i := range n {
		node := StepNode(fmt.Sprintf("s%d", i))
		node.Step.Retry.MaxRetries = rapid.IntRange(0, 2).Draw(t, "retries")
		if rapid.Bool().Draw(t, "has timeout") {
			node.Step.Timeout = time.Minute
		}
		for j := range i {
			switch rapid.IntRange(0, 5).Draw(t, "edge") {
			case 0:
				node.Inputs = append(node.Inputs, model.Input{Name: fmt.Sprintf("i%d", j), Node: fmt.Sprintf("s%d", j), Output: "out"})
			case 1:
				node.After = append(node.After, fmt.Sprintf("s%d", j))
			}
		}
		s.Nodes = append(s.Nodes, node)
	}
	return s
}

func newWorld(t *rapid.T) *world {
	s := drawSpec(t)
	p, err := newPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, journal: NewMemJournal(), plan: p, now: time.Unix(1_000_000, 0), made: map[string]bool{}, left: map[string]bool{}, published: map[string]int{}}
	w.m = newMachine(p, simRun, 1, w.rules())
	w.m.begin(w.now)
	_, err = w.journal.CreateRun(context.Background(), model.NewRun{Run: model.Run{ID: simRun, Pipeline: "pipe", Owner: "h"}, Spec: s, Reserve: w.m.take()})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	return w
}

func (w *world) rules() rules {
	return rules{maxLosses: 5, grace: 10 * time.Second, random: func() float64 { return 0.5 }, newID: func() string {
		w.ids++
		return fmt.Sprintf("id%04d", w.ids)
	}}
}

// commit writes what the machine wants, or loses it with the host.
func (w *world) commit() {
	changes := append(w.lazy, w.m.take()...)
	w.lazy = nil
	if len(changes) == 0 {
		return
	}
	if _, err := w.journal.Apply(context.Background(), simRun, w.m.epoch, changes); err != nil {
		w.t.Fatalf("the journal refused: %v", err)
	}
	for _, c := range changes {
		if p, ok := c.Op.(model.PublishStep); ok {
			w.published[p.Step]++
		}
	}
	w.check()
}

// check compares the machine with the journal, and the journal with the rules.
func (w *world) check() {
	rec, err := w.journal.LoadRun(context.Background(), simRun)
	if err != nil {
		w.t.Fatal(err)
	}
	if rec.Run.State != w.m.state {
		w.t.Fatalf("run is %s in the journal and %s in memory", rec.Run.State, w.m.state)
	}
	for _, st := range rec.Steps {
		s := w.m.steps[w.plan.index[st.Name]]
		if st.State != s.state || st.Failures != s.failures || st.Losses != s.losses {
			w.t.Fatalf("step %s: journal %s %d %d, memory %s %d %d", st.Name, st.State, st.Failures, st.Losses, s.state, s.failures, s.losses)
		}
		if st.Failures > s.node.Step.Retry.MaxRetries+1 {
			w.t.Fatalf("step %s failed %d times with %d retries", st.Name, st.Failures, s.node.Step.Retry.MaxRetries)
		}
		if st.Losses > 5 {
			w.t.Fatalf("step %s was lost %d times", st.Name, st.Losses)
		}
		if w.published[st.Name] > 1 {
			w.t.Fatalf("step %s was published %d times", st.Name, w.published[st.Name])
		}
		if (st.State == model.StepCompleted) != (w.published[st.Name] == 1) {
			w.t.Fatalf("step %s is %s, published %d times", st.Name, st.State, w.published[st.Name])
		}
		for _, j := range w.plan.needs[s.at] {
			if len(rec.Attempts[st.Name]) > 0 && rec.Steps[j].State != model.StepCompleted {
				w.t.Fatalf("step %s has an attempt before %s is completed", st.Name, rec.Steps[j].Name)
			}
		}
	}
	if w.m.state.Final() {
		w.checkEnd(rec)
	} else if len(w.m.live) == 0 && !w.m.idle {
		w.t.Fatalf("the run is stuck: %+v", rec.Steps)
	}
}

func (w *world) checkEnd(rec model.RunRecord) {
	var failed []int
	incomplete := 0
	for i, st := range rec.Steps {
		if !st.State.Final() {
			w.t.Fatalf("run is %s and step %s %s", rec.Run.State, st.Name, st.State)
		}
		if st.State == model.StepFailed {
			failed = append(failed, i)
		}
		if st.State != model.StepCompleted {
			incomplete++
		}
	}
	want := model.RunCompleted
	switch {
	case incomplete > 0 && w.cancelled:
		want = model.RunCancelled
	case incomplete > 0:
		want = model.RunFailed
		if len(failed) == 0 {
			w.t.Fatalf("run failed without a failed step: %+v", rec.Steps)
		}
	}
	if rec.Run.State != want {
		w.t.Fatalf("run is %s, not %s: %+v", rec.Run.State, want, rec.Steps)
	}
	if w.plan.spec.FailureMode != model.Continue || w.cancelled {
		return
	}
	below := map[int]bool{}
	for _, f := range failed {
		for _, d := range w.plan.descendants(f) {
			below[d] = true
		}
	}
	for i, st := range rec.Steps {
		if st.State != model.StepCompleted && st.State != model.StepFailed && !below[i] {
			w.t.Fatalf("continue: step %s is %s and needs no failed step", st.Name, st.State)
		}
	}
}

// pick draws a live attempt that a program has, or nil.
func (w *world) pick() *attempt {
	var given []*attempt
	for _, a := range w.m.sorted() {
		if a.given {
			given = append(given, a)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return rapid.SampledFrom(given).Draw(w.t, "attempt")
}

func (w *world) give(a *attempt) {
	a.taken = true
	w.made[a.id] = true
	w.lazy = append(w.lazy, w.m.give(a, "inc-"+a.id, w.now))
}

func (w *world) offer(a *attempt) {
	w.left[a.id] = true
	w.m.publish(a, model.PublishStep{Step: a.step.node.Name, Attempt: a.id, Incarnation: "inc-" + a.id}, w.now)
}

// crash kills the host, with or without its last commit, and resumes the run.
func (w *world) crash() {
	old := w.m
	if rapid.Bool().Draw(w.t, "commit was done") && len(old.out)+len(w.lazy) > 0 {
		w.commit()
	}
	w.lazy = nil
	run, err := w.journal.Acquire(context.Background(), simRun, "h", "", false)
	if errors.Is(err, model.ErrConflict) {
		return
	}
	if err != nil {
		w.t.Fatal(err)
	}
	rec, _ := w.journal.LoadRun(context.Background(), simRun)
	w.m = newMachine(w.plan, simRun, run.Epoch, w.rules())
	w.m.load(rec)
	w.cancelled = false
	w.m.resume(w.now, func(a *attempt) bool { return w.left[a.id] }, func(a *attempt) bool { return w.made[a.id] })
	w.commit()
	for _, a := range w.m.sorted() {
		if a.offered {
			w.offer(a)
		}
	}
	w.commit()
	for _, st := range rec.Steps {
		if a := rec.Attempts[st.Name]; len(a) > 0 && !a[len(a)-1].State.Final() && w.left[a[len(a)-1].ID] && w.published[st.Name] != 1 {
			w.t.Fatalf("the result of step %s stood, and was not adopted", st.Name)
		}
	}
	// The former owner comes back and must change nothing.
	_, err = w.journal.Apply(context.Background(), simRun, old.epoch, []model.Change{{ID: "late", Op: model.EndRun{State: model.RunFailed}}})
	if !errors.Is(err, model.ErrFenced) {
		w.t.Fatalf("an old epoch wrote: %v", err)
	}
}

func TestMachineModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {},
			"hand out": func(t *rapid.T) {
				if ready := w.m.ready(w.now); len(ready) > 0 {
					w.give(rapid.SampledFrom(ready).Draw(t, "ready"))
				}
			},
			"succeed": func(*rapid.T) {
				if a := w.pick(); a != nil {
					w.offer(a)
					w.commit()
				}
			},
			"finish and crash": func(*rapid.T) {
				if a := w.pick(); a != nil {
					w.left[a.id] = true
					w.crash()
				}
			},
			"fail": func(t *rapid.T) {
				if a := w.pick(); a != nil {
					w.m.fail(a, failure{message: "no", permanent: rapid.IntRange(0, 3).Draw(t, "permanent") == 0}, w.now)
					w.commit()
				}
			},
			"clock": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
				w.m.tick(w.now)
				w.commit()
			},
			"cancel": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 && !w.m.state.Final() {
					w.cancelled = true
					w.m.cancel(w.now)
					w.commit()
				}
			},
			"crash": func(*rapid.T) { w.crash() },
			"program dies": func(*rapid.T) {
				if w.m.state.Final() {
					return
				}
				w.m.idle = true
				for _, a := range w.m.sorted() {
					if a.given {
						w.m.lose(a, "gone", w.now)
					}
				}
				w.m.settle(w.now)
				w.commit()
				w.crash()
			},
		})
		w.drive()
	})
}

// drive lets the steps succeed, or fail for good, and expects the end of the run.
func (w *world) drive() {
	bad := make([]bool, len(w.m.steps))
	for i := range bad {
		bad[i] = rapid.IntRange(0, 2).Draw(w.t, "bad") == 0
	}
	for n := 0; !w.m.state.Final(); n++ {
		if n > 200 {
			w.t.Fatalf("the run does not end: %+v", w.m.steps)
		}
		for _, a := range w.m.ready(w.now) {
			w.give(a)
		}
		for _, a := range w.m.sorted() {
			// An offer can seal the run, and end the others.
			switch {
			case !a.given || a.state.Final() || !a.stopBy.IsZero():
			case bad[a.step.at]:
				w.m.fail(a, failure{message: "no"}, w.now)
			default:
				w.offer(a)
			}
		}
		w.commit()
		if at := w.m.wake(w.now); !at.IsZero() {
			w.now = at
			w.m.tick(w.now)
			w.commit()
		}
	}
}

func TestLossesAreCappedAndDoNotUseUpRetries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		s := w.m.steps[0]
		for n := 1; n <= 5; n++ {
			i := slices.IndexFunc(w.m.ready(w.now), func(a *attempt) bool { return a.step.at == 0 })
			w.give(w.m.ready(w.now)[i])
			w.commit()
			w.crash()
			s = w.m.steps[0]
			if s.losses != n || s.failures != 0 {
				t.Fatalf("after %d losses: %d, %d failures", n, s.losses, s.failures)
			}
		}
		if s.state != model.StepFailed {
			t.Fatalf("after 5 losses the step is %s", s.state)
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	p := model.RetryPolicy{InitialBackoff: time.Second, MaxBackoff: 10 * time.Second}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 90: 10 * time.Second} {
		if got := backoff(p, n, 0); got != want {
			t.Errorf("wait %d is %s, want %s", n, got, want)
		}
		if got := backoff(p, n, 0.999); got <= want*45/100 || got > want {
			t.Errorf("wait %d with jitter is %s", n, got)
		}
	}
	if got := backoff(model.RetryPolicy{}, 1, 0); got != time.Second {
		t.Errorf("default wait is %s", got)
	}
	if got := backoff(model.RetryPolicy{}, 40, 0); got != time.Minute {
		t.Errorf("default longest wait is %s", got)
	}
}
