package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
)

func testFencing(t *testing.T, b *bed) {
	ctx := context.Background()
	n := NewRun("old", "a", "b")
	a1 := id()
	n.Reserve = []model.Change{reserve("a", a1)}
	run := b.create(n)
	applied := change(model.StartAttempt{Step: "a", Attempt: a1, Incarnation: "i"})
	b.apply(run.ID, 1, applied)
	if _, err := b.j.Acquire(ctx, run.ID, "new", id(), false); err != nil {
		t.Fatal(err)
	}
	for name, changes := range map[string][]model.Change{
		"new":     {change(model.PublishStep{Step: "a", Attempt: a1, Incarnation: "i"})},
		"applied": {applied},
		"seal":    {change(model.EndRun{State: model.RunFailed})},
	} {
		_, err := b.open(t).Apply(ctx, run.ID, 1, changes)
		var fenced *model.FencedError
		if !errors.As(err, &fenced) || !errors.Is(err, model.ErrFenced) || fenced.Owner != "new" || fenced.Epoch != 2 {
			t.Errorf("%s: an old epoch gives %v", name, err)
		}
		b.refused(model.ErrFenced, run.ID, 1, changes...)
	}
	// The new owner adopts the attempt of the old epoch.
	b.apply(run.ID, 2, change(model.PublishStep{Step: "a", Attempt: a1, Incarnation: "i"}), reserve("b", id()))
	if got := b.load(run.ID).Attempts["b"][0].Epoch; got != 2 {
		t.Errorf("the attempt is of epoch %d", got)
	}
}

func testEndedAttempts(t *testing.T, b *bed) {
	ctx := context.Background()
	b.hosts.set("one", true)
	n := NewRun("one", "a", "b", "c")
	a, bb, c := id(), id(), id()
	n.Reserve = []model.Change{reserve("a", a), reserve("b", bb), reserve("c", c)}
	run := b.create(n)
	b.apply(run.ID, 1, change(model.PublishStep{Step: "a", Attempt: a, Incarnation: "i"}),
		change(model.EndAttempt{Step: "b", Attempt: bb, State: model.AttemptLost}))
	ended := func(want ...string) {
		t.Helper()
		got, err := b.j.EndedAttempts(ctx, []string{a, "unknown", bb, c})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ended attempts:\n%s", diff)
		}
	}
	ended() // their host lives, and sees to them
	b.hosts.set("one", false)
	ended(a, bb)
	b.apply(run.ID, 1, change(model.EndAttempt{Step: "c", Attempt: c, State: model.AttemptCancelled}),
		change(model.EndStep{Step: "b", State: model.StepCancelled}), change(model.EndStep{Step: "c", State: model.StepCancelled}),
		change(model.EndRun{State: model.RunCancelled}))
	ended(a, bb, c)
}

func testAcquireRules(t *testing.T, b *bed) {
	ctx := context.Background()
	b.hosts.set("one", true)
	run := b.create(NewRun("one", "a"))
	_, err := b.j.Acquire(ctx, run.ID, "two", id(), false)
	if !errors.Is(err, model.ErrOwned) {
		t.Errorf("a living owner's run gives %v", err)
	}
	if rec := b.load(run.ID); rec.Run.Epoch != 1 || rec.Run.Seq != 1 {
		t.Errorf("a refused acquiring left %+v", rec.Run)
	}
	over := id()
	run, err = b.j.Acquire(ctx, run.ID, "two", over, true)
	if err != nil || run.Owner != "two" || run.Epoch != 2 || run.Seq != 2 {
		t.Fatalf("taking over gives %+v, %v", run, err)
	}
	if diff := cmp.Diff(run, b.load(run.ID).Run); diff != "" {
		t.Errorf("what Acquire answers is not what stands:\n%s", diff)
	}
	again, err := b.j.Acquire(ctx, run.ID, "two", over, true)
	if err != nil || again.Epoch != 2 {
		t.Errorf("the same change again gives %+v, %v", again, err)
	}
	b.hosts.set("two", false)
	run, err = b.j.Acquire(ctx, run.ID, "three", id(), false)
	if err != nil || run.Epoch != 3 {
		t.Fatalf("a dead owner's run gives %+v, %v", run, err)
	}
	if _, err := b.j.Acquire(ctx, run.ID, "two", over, true); !errors.Is(err, model.ErrFenced) {
		t.Errorf("an acquiring of long ago, repeated, gives %v", err)
	}
	// A failed run is nobody's business any more, whoever lives.
	b.hosts.set("three", true)
	b.apply(run.ID, 3, change(model.EndStep{Step: "a", State: model.StepCancelled}), change(model.EndRun{State: model.RunFailed, Error: "e"}))
	run, err = b.j.Acquire(ctx, run.ID, "four", id(), false)
	if err != nil || run.State != model.RunRunning || run.Epoch != 4 || run.Error != "" || !run.EndedAt.IsZero() {
		t.Fatalf("a failed run gives %+v, %v", run, err)
	}
	b.apply(run.ID, 4, change(model.EndRun{State: model.RunCompleted}))
	if _, err := b.j.Acquire(ctx, run.ID, "five", id(), true); !errors.Is(err, model.ErrConflict) {
		t.Errorf("a completed run gives %v", err)
	}
	if _, err := b.j.Acquire(ctx, id(), "five", id(), true); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("no run gives %v", err)
	}
}

func testOneAcquirerWins(t *testing.T, b *bed) {
	run := b.create(NewRun("dead", "a"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winners []string
	for i := range 8 {
		j, host := b.open(t), fmt.Sprintf("host-%d", i)
		b.hosts.set(host, true)
		wg.Go(func() {
			got, err := j.Acquire(context.Background(), run.ID, host, id(), false)
			switch {
			case err == nil && got.Owner == host && got.Epoch == 2:
				mu.Lock()
				winners = append(winners, host)
				mu.Unlock()
			case !errors.Is(err, model.ErrOwned):
				t.Errorf("%s gets %+v, %v", host, got, err)
			}
		})
	}
	wg.Wait()
	rec := b.load(run.ID)
	if len(winners) != 1 || rec.Run.Owner != winners[0] || rec.Run.Epoch != 2 {
		t.Errorf("winners are %v, the run is %+v", winners, rec.Run)
	}
}

func testResume(t *testing.T, b *bed) {
	n := NewRun("h", "done", "bad", "after")
	done, bad := id(), id()
	n.Reserve = []model.Change{reserve("done", done), reserve("bad", bad)}
	run := b.create(n)
	b.apply(run.ID, 1,
		change(model.PublishStep{Step: "done", Attempt: done, Incarnation: "i"}),
		change(model.EndAttempt{Step: "bad", Attempt: bad, State: model.AttemptFailed, Error: "boom"}),
		change(model.EndStep{Step: "bad", State: model.StepFailed, Error: "boom", Hint: "mend it"}),
		change(model.EndStep{Step: "after", State: model.StepSkipped, Error: "bad failed"}),
		change(model.EndRun{State: model.RunFailed, Error: "bad failed"}))
	if _, err := b.j.Acquire(context.Background(), run.ID, "h2", id(), false); err != nil {
		t.Fatal(err)
	}
	second := id()
	b.apply(run.ID, 2, change(model.ResetStep{Step: "bad"}), change(model.ResetStep{Step: "after"}), reserve("bad", second))
	rec := b.load(run.ID)
	if s := step(rec, "bad"); s.Failures != 0 || s.Error != "" || s.Hint != "" || s.Attempt != second || !s.EndedAt.IsZero() {
		t.Errorf("the step taken up again is %+v", s)
	}
	if a := rec.Attempts["bad"]; len(a) != 2 || a[1].Number != 2 || a[1].Epoch != 2 || a[0].State != model.AttemptFailed {
		t.Errorf("its attempts are %+v", a)
	}
	want := map[string]model.StepState{"done": model.StepCompleted, "bad": model.StepRunning, "after": model.StepPending}
	if diff := cmp.Diff(want, states(rec)); diff != "" {
		t.Error(diff)
	}
}

func testCancelIntent(t *testing.T, b *bed) {
	ctx := context.Background()
	run := b.create(NewRun("owner", "a"))
	b.create(NewRun("owner", "a"))
	intents := func(j Journal, host string, want ...string) {
		t.Helper()
		got, err := j.Intents(ctx, host)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("intents of %s are %v, %v; want %v", host, got, err, want)
		}
	}
	intents(b.j, "owner")
	ask := id()
	for range 2 {
		if err := b.open(t).AskCancel(ctx, run.ID, "other", ask); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.j.AskCancel(ctx, run.ID, "third", id()); err != nil {
		t.Errorf("asking while it is asked for: %v", err)
	}
	intents(b.j, "owner", run.ID)
	intents(b.j, "owner", run.ID)
	intents(b.j, "other")
	rec := b.load(run.ID)
	if !rec.Run.CancelRequested || rec.Run.Seq != 2 {
		t.Errorf("run is %+v", rec.Run)
	}
	if events := b.events(run.ID); events[1].Kind != model.EventCancelAsked {
		t.Errorf("event is %+v", events[1])
	}
	if _, err := b.j.Acquire(ctx, run.ID, "heir", id(), true); err != nil {
		t.Fatal(err)
	}
	intents(b.j, "owner")
	intents(b.j, "heir", run.ID)
	b.apply(run.ID, 2, change(model.EndStep{Step: "a", State: model.StepCancelled}), change(model.EndRun{State: model.RunCancelled}))
	intents(b.j, "heir")
	if rec := b.load(run.ID); rec.Run.CancelRequested {
		t.Error("the intent outlives the run")
	}
	if err := b.j.AskCancel(ctx, run.ID, "other", id()); !errors.Is(err, model.ErrConflict) {
		t.Errorf("cancelling what has ended gives %v", err)
	}
	if err := b.j.AskCancel(ctx, id(), "other", id()); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("cancelling no run gives %v", err)
	}
}
