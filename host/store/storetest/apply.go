package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
)

func testLifecycle(t *testing.T, b *bed) {
	n := NewRun("h", "load", "train")
	load, train1, train2 := id(), id(), id()
	n.Reserve = []model.Change{reserve("load", load)}
	run := b.create(n)
	out := output("data", "load.data", "d1")
	at := start().Add(time.Second)
	b.apply(run.ID, 1, change(model.StartAttempt{Step: "load", Attempt: load, Incarnation: "i1"}))
	seq := b.apply(run.ID, 1,
		model.Change{ID: id(), At: at, Op: model.PublishStep{Step: "load", Attempt: load, Incarnation: "i1",
			Outputs: []model.PublishedOutput{out}, StartedAt: start(), Metrics: map[string]float64{"rows": 3},
			Metadata:   map[string]json.RawMessage{"source": json.RawMessage(`"web"`)},
			Parameters: map[string]json.RawMessage{"n": json.RawMessage(`7`)}}},
		reserve("train", train1))
	if seq != 5 {
		t.Errorf("seq is %d", seq)
	}
	notBefore := start().Add(time.Minute)
	b.apply(run.ID, 1,
		change(model.EndAttempt{Step: "train", Attempt: train1, State: model.AttemptFailed, Error: "boom", Trace: "train.go:3"}),
		change(model.ReserveAttempt{Attempt: model.Attempt{ID: train2, Step: "train", Number: 2, NotBefore: notBefore}}))
	b.apply(run.ID, 1, change(model.SetProvenance{Provenance: model.Provenance{GitCommit: "abc"}}))
	b.apply(run.ID, 1, change(model.PublishStep{Step: "train", Attempt: train2, Incarnation: "i2",
		Inputs: []model.StepInput{{Step: "train", Input: "data", ArtifactID: out.ID}, {Step: "train", Input: "n"}}}),
		change(model.EndRun{State: model.RunCompleted}))

	rec := b.load(run.ID)
	if rec.Run.State != model.RunCompleted || !rec.Run.EndedAt.Equal(start()) || rec.Provenance.GitCommit != "abc" {
		t.Errorf("run is %+v, provenance %+v", rec.Run, rec.Provenance)
	}
	want := model.StepRun{RunID: run.ID, Name: "load", State: model.StepCompleted, Attempt: load, Metrics: map[string]float64{"rows": 3},
		Metadata:   map[string]json.RawMessage{"source": json.RawMessage(`"web"`)},
		Parameters: map[string]json.RawMessage{"n": json.RawMessage(`7`)}, StartedAt: start(), EndedAt: at}
	if diff := cmp.Diff(want, step(rec, "load")); diff != "" {
		t.Error(diff)
	}
	if s := step(rec, "train"); s.Failures != 1 || s.Losses != 0 {
		t.Errorf("train is %+v", s)
	}
	wantAttempts := []model.Attempt{
		{ID: train1, RunID: run.ID, Step: "train", Number: 1, State: model.AttemptFailed, Epoch: 1, Execution: model.Attached,
			Error: "boom", Trace: "train.go:3", EndedAt: start()},
		{ID: train2, RunID: run.ID, Step: "train", Number: 2, State: model.AttemptCompleted, Epoch: 1, Incarnation: "i2",
			NotBefore: notBefore, EndedAt: start()},
	}
	if diff := cmp.Diff(wantAttempts, rec.Attempts["train"]); diff != "" {
		t.Error(diff)
	}
	wantOutput := []model.ArtifactVersion{{ID: out.ID, Project: "p", Name: "load.data", Version: 1, Digest: "d1", Size: 3, Type: out.Type,
		RunID: run.ID, RunName: run.Name, Step: "load", Output: "data", Inline: []byte("1.5"), CreatedAt: at}}
	if diff := cmp.Diff(wantOutput, rec.Outputs["load"]); diff != "" {
		t.Error(diff)
	}
	wantInputs := []model.StepInput{{Step: "train", Input: "data", ArtifactID: out.ID}, {Step: "train", Input: "n"}}
	if diff := cmp.Diff(wantInputs, rec.Inputs); diff != "" {
		t.Error(diff)
	}
	if where, err := b.j.LocateContent(context.Background(), "d1"); err != nil || !cmp.Equal(where, out.Locations) {
		t.Errorf("d1 is at %v, %v", where, err)
	}
	var kinds []model.EventKind
	for _, e := range b.events(run.ID) {
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]model.EventKind{model.EventRunCreated, model.EventAttemptReserved, model.EventAttemptStarted,
		model.EventStepPublished, model.EventAttemptReserved, model.EventAttemptEnded, model.EventAttemptReserved,
		model.EventProvenanceSet, model.EventStepPublished, model.EventRunEnded}, kinds); diff != "" {
		t.Error(diff)
	}
	tail, err := b.j.Events(context.Background(), run.ID, 4, 2)
	if err != nil || len(tail) != 2 || tail[0].Seq != 5 {
		t.Errorf("two events after 4 are %+v, %v", tail, err)
	}
	if again := b.open(t); true {
		other, err := again.LoadRun(context.Background(), run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rec, other); diff != "" {
			t.Errorf("another host reads something else:\n%s", diff)
		}
	}
}

func testApplyIsIdempotent(t *testing.T, b *bed) {
	n := NewRun("h", "a", "b")
	a1, b1 := id(), id()
	n.Reserve = []model.Change{reserve("a", a1)}
	run := b.create(n)
	batch := []model.Change{
		change(model.PublishStep{Step: "a", Attempt: a1, Incarnation: "i", Outputs: []model.PublishedOutput{output("o", "x", "d")}}),
		reserve("b", b1),
	}
	seq := b.apply(run.ID, 1, batch...)
	before := b.load(run.ID)
	// By the same host, by another, and many at once.
	var wg sync.WaitGroup
	for _, j := range []Journal{b.j, b.open(t), b.open(t)} {
		for range 5 {
			wg.Go(func() {
				got, err := j.Apply(context.Background(), run.ID, 1, batch)
				if err != nil || got != seq {
					t.Errorf("applied again it gives %d, %v; want %d", got, err, seq)
				}
			})
		}
	}
	wg.Wait()
	// Known changes beside a new one.
	b.apply(run.ID, 1, append(slices.Clone(batch), change(model.StartAttempt{Step: "b", Attempt: b1, Incarnation: "i"}))...)
	after := b.load(run.ID)
	if after.Run.Seq != before.Run.Seq+1 || len(after.Attempts["b"]) != 1 {
		t.Errorf("seq went from %d to %d", before.Run.Seq, after.Run.Seq)
	}
	if v, err := b.j.FindArtifact(context.Background(), "p", "x"); err != nil || v.Version != 1 {
		t.Errorf("the version is %+v, %v", v, err)
	}
}

func testApplyIsAtomic(t *testing.T, b *bed) {
	n := NewRun("h", "a", "b")
	a1 := id()
	n.Reserve = []model.Change{reserve("a", a1)}
	run := b.create(n)
	good := change(model.PublishStep{Step: "a", Attempt: a1, Incarnation: "i", Outputs: []model.PublishedOutput{output("o", "x", "d")}})
	b.refused(model.ErrConflict, run.ID, 1, good, change(model.EndStep{Step: "b", State: model.StepFailed}))
	if _, err := b.j.FindArtifact(context.Background(), "p", "x"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the refused publication's artifact gives %v", err)
	}
	// What was refused with it can be applied by itself, under the same id.
	b.apply(run.ID, 1, good)
	if v, err := b.j.FindArtifact(context.Background(), "p", "x"); err != nil || v.Version != 1 {
		t.Errorf("a refused publication counted a version: %+v, %v", v, err)
	}
	// In one group commit, a refused command leaves nothing and spoils none of
	// the others.
	var wg sync.WaitGroup
	var spoiled [20]model.Run
	for i := range spoiled {
		spoiled[i] = b.create(NewRun("h", "a", "b"))
	}
	for _, run := range spoiled {
		wg.Go(func() {
			_, err := b.j.Apply(context.Background(), run.ID, 1, []model.Change{reserve("a", id()),
				change(model.EndStep{Step: "nowhere", State: model.StepSkipped})})
			if !errors.Is(err, model.ErrConflict) {
				t.Errorf("a step that is not there gives %v", err)
			}
		})
		wg.Go(func() {
			other := NewRun("h", "a")
			if _, err := b.j.CreateRun(context.Background(), other); err != nil {
				t.Errorf("beside a refused command: %v", err)
			}
			if _, err := b.j.LoadRun(context.Background(), other.Run.ID); err != nil {
				t.Errorf("an acknowledged run: %v", err)
			}
		})
	}
	wg.Wait()
	for _, run := range spoiled {
		rec := b.load(run.ID)
		if diff := cmp.Diff(run, rec.Run); diff != "" || len(rec.Attempts) > 0 || rec.Steps[0].State != model.StepPending {
			t.Errorf("a refused command left something behind: %s\n%+v", diff, rec.Attempts)
		}
	}
}

func testRefusals(t *testing.T, b *bed) {
	n := NewRun("h", "pending", "live", "ended", "done", "failed", "skipped")
	live, ended, done, failed := id(), id(), id(), id()
	n.Reserve = []model.Change{reserve("live", live), reserve("ended", ended), reserve("done", done), reserve("failed", failed)}
	run := b.create(n)
	b.apply(run.ID, 1,
		change(model.StartAttempt{Step: "live", Attempt: live, Incarnation: "i"}),
		change(model.EndAttempt{Step: "ended", Attempt: ended, State: model.AttemptLost}),
		change(model.PublishStep{Step: "done", Attempt: done, Incarnation: "i", Outputs: []model.PublishedOutput{output("o", "x", "d")}}),
		change(model.EndAttempt{Step: "failed", Attempt: failed, State: model.AttemptFailed}),
		change(model.EndStep{Step: "failed", State: model.StepFailed}),
		change(model.EndStep{Step: "skipped", State: model.StepSkipped}))
	second := id()
	b.apply(run.ID, 1, reserve("live", second)) // fences the first
	for name, op := range map[string]model.Op{
		"reserve a completed step":         model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: "done"}},
		"reserve a failed step":            model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: "failed"}},
		"reserve no step":                  model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: "nowhere"}},
		"reserve a wrong number":           model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: "ended", Number: 3}},
		"reserve with a taken id":          model.ReserveAttempt{Attempt: model.Attempt{ID: done, Step: "pending"}},
		"start a superseded attempt":       model.StartAttempt{Step: "live", Attempt: live},
		"start an ended attempt":           model.StartAttempt{Step: "ended", Attempt: ended},
		"start another step's attempt":     model.StartAttempt{Step: "pending", Attempt: second},
		"end a superseded attempt":         model.EndAttempt{Step: "live", Attempt: live, State: model.AttemptFailed},
		"end an ended attempt":             model.EndAttempt{Step: "ended", Attempt: ended, State: model.AttemptFailed},
		"end an attempt as completed":      model.EndAttempt{Step: "live", Attempt: second, State: model.AttemptCompleted},
		"publish a superseded attempt":     model.PublishStep{Step: "live", Attempt: live, Incarnation: "i"},
		"publish an ended attempt":         model.PublishStep{Step: "ended", Attempt: ended, Incarnation: "i"},
		"publish twice":                    model.PublishStep{Step: "done", Attempt: done, Incarnation: "j"},
		"publish a pending step":           model.PublishStep{Step: "pending", Attempt: id(), Incarnation: "i"},
		"publish an input that is not":     model.PublishStep{Step: "live", Attempt: second, Inputs: []model.StepInput{{Input: "x", ArtifactID: id()}}},
		"publish an output twice":          model.PublishStep{Step: "live", Attempt: second, Outputs: []model.PublishedOutput{output("o", "y", "e"), output("o", "y", "f")}},
		"publish another size":             model.PublishStep{Step: "live", Attempt: second, Outputs: []model.PublishedOutput{{ID: id(), Output: "o", Artifact: "y", Content: model.Content{Digest: "d", Size: 4}}}},
		"fail a step with a live attempt":  model.EndStep{Step: "live", State: model.StepFailed},
		"cancel one with a live attempt":   model.EndStep{Step: "live", State: model.StepCancelled},
		"skip a running step":              model.EndStep{Step: "ended", State: model.StepSkipped},
		"fail a pending step":              model.EndStep{Step: "pending", State: model.StepFailed},
		"end a step as completed":          model.EndStep{Step: "ended", State: model.StepCompleted},
		"end a completed step":             model.EndStep{Step: "done", State: model.StepCancelled},
		"end a skipped step":               model.EndStep{Step: "skipped", State: model.StepCancelled},
		"reset a completed step":           model.ResetStep{Step: "done"},
		"reset a pending step":             model.ResetStep{Step: "pending"},
		"reset a running step":             model.ResetStep{Step: "live"},
		"end the run with open steps":      model.EndRun{State: model.RunFailed},
		"end the run as running":           model.EndRun{State: model.RunRunning},
		"end the run as something unknown": model.EndRun{State: "done"},
	} {
		t.Run(name, func(t *testing.T) {
			(&bed{t: t, j: b.j}).refused(model.ErrConflict, run.ID, 1, change(op))
		})
	}
	b.refused(model.ErrConflict, run.ID, 2, change(model.EndStep{Step: "pending", State: model.StepSkipped}))
	if _, err := b.j.Apply(context.Background(), id(), 1, []model.Change{reserve("a", id())}); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a run that is not there gives %v", err)
	}
}

func testSealing(t *testing.T, b *bed) {
	n := NewRun("h", "a")
	a1 := id()
	n.Reserve = []model.Change{reserve("a", a1)}
	run := b.create(n)
	seal := []model.Change{
		change(model.PublishStep{Step: "a", Attempt: a1, Incarnation: "i"}),
		change(model.EndRun{State: model.RunCompleted}),
	}
	seq := b.apply(run.ID, 1, seal...)
	// The answer was lost, and the host asks again.
	if again := b.apply(run.ID, 1, seal...); again != seq {
		t.Errorf("sealing again gives %d, want %d", again, seq)
	}
	if again := b.create(n); again.State != model.RunCompleted || again.Seq != seq {
		t.Errorf("creating it again gives %+v", again)
	}
	for _, op := range []model.Op{
		model.SetProvenance{Provenance: model.Provenance{User: "x"}},
		model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: "a"}},
		model.ResetStep{Step: "a"},
		model.EndRun{State: model.RunFailed},
	} {
		b.refused(model.ErrConflict, run.ID, 1, change(op))
	}
}
