package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-stack/cairn/host/model"
)

func testCreateNames(t *testing.T, b *bed) {
	for i := range 3 {
		run := b.create(NewRun("h", "a"))
		if want := fmt.Sprintf("training-%d", i+1); run.Name != want || run.Number != i+1 {
			t.Errorf("run %d is named %s with number %d", i+1, run.Name, run.Number)
		}
	}
	other := NewRun("h", "a")
	other.Run.Project = "q"
	if run := b.create(other); run.Name != "training-1" {
		t.Errorf("names count across projects: %s", run.Name)
	}
	named := NewRun("h", "a")
	named.Run.Name = "training-5"
	if run := b.create(named); run.Name != "training-5" || run.Number != 4 {
		t.Errorf("named run is %s, number %d", run.Name, run.Number)
	}
	if run := b.create(NewRun("h", "a")); run.Name != "training-6" {
		t.Errorf("the taken name is not passed over: %s", run.Name)
	}
	taken := NewRun("h", "a")
	taken.Run.Name = "training-2"
	if _, err := b.j.CreateRun(context.Background(), taken); !errors.Is(err, model.ErrExists) {
		t.Errorf("a taken name gives %v", err)
	}
	// Many at once, by several hosts.
	var wg sync.WaitGroup
	names := make([]string, 40)
	for w := range 4 {
		j := b.open(t)
		for i := range 10 {
			wg.Go(func() {
				n := NewRun("h", "a")
				n.Run.Pipeline = "many"
				run, err := j.CreateRun(context.Background(), n)
				if err != nil {
					t.Errorf("create: %v", err)
				}
				names[w*10+i] = run.Name
			})
		}
	}
	wg.Wait()
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != 40 {
		t.Errorf("40 runs have %d names", n)
	}
}

func testCreateIsIdempotent(t *testing.T, b *bed) {
	n := NewRun("h", "a", "b")
	first := id()
	n.Reserve = []model.Change{reserve("a", first)}
	run := b.create(n)
	b.apply(run.ID, 1, change(model.StartAttempt{Step: "a", Attempt: first, Incarnation: "i"}))
	again := b.create(n)
	if again.Seq != 3 || again.Name != run.Name {
		t.Errorf("the run is not returned as it stands: %+v", again)
	}
	if events := b.events(run.ID); len(events) != 3 {
		t.Errorf("%d events", len(events))
	}
}

func testCreateIsWhole(t *testing.T, b *bed) {
	n := NewRun("h", "a", "b", "c")
	first := id()
	n.Reserve = []model.Change{reserve("b", first)}
	run := b.create(n)
	if run.State != model.RunRunning || run.Epoch != 1 || run.Seq != 2 || run.Owner != "h" {
		t.Errorf("run is %+v", run)
	}
	rec := b.load(run.ID)
	if diff := cmp.Diff(run, rec.Run); diff != "" {
		t.Errorf("what CreateRun answers is not what stands:\n%s", diff)
	}
	for _, d := range []string{cmp.Diff(n.Spec, rec.Spec), cmp.Diff(n.Snapshot, rec.Snapshot, cmpopts.EquateEmpty()),
		cmp.Diff(n.Recipe, rec.Recipe), cmp.Diff(n.Provenance, rec.Provenance), cmp.Diff(n.Run.Labels, rec.Run.Labels)} {
		if d != "" {
			t.Error(d)
		}
	}
	if len(rec.Steps) != 3 || rec.Steps[0].Name != "a" || rec.Steps[2].Name != "c" {
		t.Fatalf("steps are %+v", rec.Steps)
	}
	want := []model.Attempt{{ID: first, RunID: run.ID, Step: "b", Number: 1, State: model.AttemptReserved, Epoch: 1, Execution: model.Attached}}
	if diff := cmp.Diff(want, rec.Attempts["b"]); diff != "" {
		t.Error(diff)
	}
	if s := step(rec, "b"); s.State != model.StepRunning || s.Attempt != first {
		t.Errorf("step b is %+v", s)
	}
	// A first attempt that does not fit: no run.
	bad := NewRun("h", "a")
	bad.Reserve = []model.Change{reserve("nowhere", id())}
	if _, err := b.j.CreateRun(context.Background(), bad); !errors.Is(err, model.ErrConflict) {
		t.Errorf("a reservation of no step gives %v", err)
	}
	if _, err := b.j.LoadRun(context.Background(), bad.Run.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("loading what was refused gives %v", err)
	}
}

func testDelete(t *testing.T, b *bed) {
	ctx := context.Background()
	b.hosts.set("h", true)
	n := NewRun("h", "a")
	attempt := id()
	n.Reserve = []model.Change{reserve("a", attempt)}
	run := b.create(n)
	if _, err := b.j.DeleteRun(ctx, run.ID); !errors.Is(err, model.ErrInUse) {
		t.Errorf("deleting a run in progress gives %v", err)
	}
	b.apply(run.ID, 1, change(model.PublishStep{Step: "a", Attempt: attempt, Incarnation: "i",
		Outputs: []model.PublishedOutput{output("o", "model", "d1")}, Inputs: []model.StepInput{{Step: "a", Input: "x"}}}),
		change(model.EndRun{State: model.RunCompleted}))
	attempts, err := b.j.DeleteRun(ctx, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{attempt}, attempts); diff != "" {
		t.Error(diff)
	}
	if _, err := b.j.LoadRun(ctx, run.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a deleted run gives %v", err)
	}
	v, err := b.j.FindArtifact(ctx, "p", "model:1")
	if err != nil || v.RunName != "" || v.RunID != run.ID {
		t.Errorf("the artifact of a deleted run is %+v, %v", v, err)
	}
	if run := b.create(NewRun("h", "a")); run.Name != "training-2" {
		t.Errorf("the name of a deleted run is given again: %s", run.Name)
	}
	// Interrupted: the owner is dead.
	gone := b.create(NewRun("dead", "a"))
	if _, err := b.j.DeleteRun(ctx, gone.ID); err != nil {
		t.Errorf("deleting an interrupted run: %v", err)
	}
	if _, err := b.j.DeleteRun(ctx, gone.ID); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("deleting it again gives %v", err)
	}
}
