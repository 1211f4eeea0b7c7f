package engine

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// poll asks once for jobs, with nothing held unless given.
func (r *rig) poll(e *Engine, run string, held ...string) JobReply {
	r.t.Helper()
	reply, err := e.NextJob(r.t.Context(), JobRequest{Run: run, Session: "s", Held: held, FreeSlots: 4, Wait: 5 * time.Second})
	if err != nil {
		r.t.Fatalf("poll: %v", err)
	}
	return reply
}

func (r *rig) open(e *Engine, run string) *Session {
	r.t.Helper()
	s, err := e.OpenSession(r.t.Context(), run, "s")
	if err != nil {
		r.t.Fatalf("open session: %v", err)
	}
	return s
}

// first opens a session and takes the first job.
func (r *rig) first(e *Engine, run string) Job {
	r.t.Helper()
	r.open(e, run)
	reply := r.poll(e, run)
	if len(reply.Start) != 1 {
		r.t.Fatalf("%d jobs", len(reply.Start))
	}
	return reply.Start[0]
}

func (r *rig) leave(job Job, res *artifact.Result) {
	r.t.Helper()
	if err := Leave(job, res, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) resume(e *Engine, run string, s model.Spec, takeOver bool) error {
	_, err := e.ResumeRun(r.t.Context(), ResumeRequest{Run: run, Spec: s, TakeOver: takeOver})
	return err
}

func wantCode(t *testing.T, err error, code diag.Code, part string) {
	t.Helper()
	if diag.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("error %q (%s), want %s with %q", err, diag.CodeOf(err), code, part)
	}
}

func TestHostDiesAndResultIsAdopted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("long"), StepNode("next", "long"))
	run := r.create(s)
	job := r.first(r.engine, run)
	r.leave(job, Value("42"))
	// The host dies before it hears of the result.
	r.journal.SetAlive("host-1", false)
	two := r.another("host-2")
	if err := r.resume(two, run, s, false); err != nil {
		t.Fatal(err)
	}
	p := &Program{Engine: two, Run: run, Session: "t", Slots: 1, Steps: map[string]StepFunc{"next": value("x")}}
	play(t, p, model.RunCompleted)
	if a := r.record(run).Attempts["long"]; len(a) != 1 || a[0].State != model.AttemptCompleted {
		t.Errorf("attempts of long: %+v", a)
	}
	if len(p.Started) != 1 || p.Started[0] != "next" {
		t.Errorf("started %v", p.Started)
	}
}

func TestHostDiesAndAttemptIsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("given"), StepNode("waiting"))
	run := r.create(s)
	r.open(r.engine, run)
	reply, err := r.engine.NextJob(t.Context(), JobRequest{Run: run, Session: "s", FreeSlots: 1, Wait: time.Second})
	if err != nil || len(reply.Start) != 1 {
		t.Fatalf("%+v %v", reply, err)
	}
	r.journal.SetAlive("host-1", false)
	two := r.another("host-2")
	if err := r.resume(two, run, s, false); err != nil {
		t.Fatal(err)
	}
	play(t, &Program{Engine: two, Run: run, Session: "t", Slots: 2, Steps: map[string]StepFunc{"given": value("x"), "waiting": value("y")}}, model.RunCompleted)
	rec := r.record(run)
	if a := rec.Attempts["given"]; len(a) != 2 || a[0].State != model.AttemptLost {
		t.Errorf("given: %+v", a)
	}
	// What no program was given is not lost: it uses up nothing.
	if a := rec.Attempts["waiting"]; len(a) != 2 || a[0].State != model.AttemptSuperseded {
		t.Errorf("waiting: %+v", a)
	}
	if _, err := os.Stat(reply.Start[0].Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lost attempt's directory stands: %v", err)
	}
}

func TestTwoEnginesAndOneRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("a"), StepNode("b", "a"))
	run := r.create(s)
	job := r.first(r.engine, run)
	two := r.another("host-2")
	err := r.resume(two, run, s, false)
	wantCode(t, err, diag.Refused, "another host")
	if !errors.Is(err, model.ErrOwned) {
		t.Errorf("%v is not ErrOwned", err)
	}
	if err := r.resume(two, run, s, true); err != nil {
		t.Fatal(err)
	}
	// The first engine does not know yet; what it wants to write is fenced.
	c, err := r.engine.CompleteJob(t.Context(), run, "s", job.Attempt)
	if err != nil || c.Outcome != OutcomeFenced || !strings.Contains(c.Detail, "host-2") {
		t.Fatalf("%+v %v", c, err)
	}
	end, err := r.engine.Wait(t.Context(), run)
	if err != nil || end.State != model.RunRunning {
		t.Fatalf("%+v %v", end, err)
	}
	wantCode(t, end.Err, diag.Interrupted, "host-2")
	_, err = r.engine.NextJob(t.Context(), JobRequest{Run: run, Session: "s"})
	wantCode(t, err, diag.Interrupted, "host-2")
	play(t, &Program{Engine: two, Run: run, Session: "t", Slots: 2, Steps: map[string]StepFunc{"a": value("x"), "b": value("y")}}, model.RunCompleted)
	if a := r.record(run).Attempts["a"]; len(a) != 2 || a[1].State != model.AttemptCompleted {
		t.Errorf("a: %+v", a)
	}
}

func TestResumeOfAFailedRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("ok"), StepNode("bad", "ok"), StepNode("after", "bad"))
	run := r.create(s)
	var mended atomic.Bool
	steps := map[string]StepFunc{"ok": value("x"), "after": value("y"), "bad": func(context.Context, Job) (*artifact.Result, error) {
		if !mended.Load() {
			return nil, errors.New("broken")
		}
		return Value("1"), nil
	}}
	play(t, r.program(run, steps), model.RunFailed)
	mended.Store(true)
	if err := r.resume(r.engine, run, s, false); err != nil {
		t.Fatal(err)
	}
	p := r.program(run, steps)
	play(t, p, model.RunCompleted)
	if got := strings.Join(p.Started, " "); got != "bad after" {
		t.Errorf("the resume ran %s", got)
	}
	wantCode(t, r.resume(r.engine, run, s, false), diag.Refused, "completed")
}

func TestResumeOfAnotherPipelineIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("a"), StepNode("b", "a"))
	s.Parameters = map[string]model.Parameter{"rate": {Value: []byte("0.1")}}
	run := r.create(s)
	r.journal.SetAlive("host-1", false)
	two := r.another("host-2")
	other := spec(StepNode("a"), StepNode("c"))
	other.Nodes[0].Step.CodeKey = "new build"
	other.Parameters = map[string]model.Parameter{"rate": {Value: []byte("0.2")}}
	err := r.resume(two, run, other, false)
	for _, part := range []string{"it was 0.1 and is 0.2", "step b: it is gone", "step c: it is new", "other code"} {
		wantCode(t, err, diag.Refused, part)
	}
	if e := r.record(run).Run.Epoch; e != 1 {
		t.Errorf("the refused resume made epoch %d", e)
	}
}

func TestLostSessionIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.SessionGrace = 10 * time.Second })
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	sess := r.open(r.engine, run)
	job := r.poll(r.engine, run).Start[0]
	sess.End()
	sess.End()
	r.open(r.engine, run)
	// The program lists what it holds, so it is not given again.
	reply, err := r.engine.NextJob(t.Context(), JobRequest{Run: run, Session: "s", Held: []string{job.Attempt}, FreeSlots: 4, Wait: 30 * time.Millisecond})
	if err != nil || len(reply.Start) != 0 {
		t.Fatalf("%+v %v", reply, err)
	}
	// What it does not list is given again: the same attempt.
	if again := r.poll(r.engine, run).Start[0]; again.Attempt != job.Attempt || again.Incarnation != job.Incarnation {
		t.Errorf("given %s, then %s", job.Attempt, again.Attempt)
	}
	r.leave(job, Value("1"))
	if c, err := r.engine.CompleteJob(t.Context(), run, "s", job.Attempt); err != nil || c.Outcome != OutcomePublished {
		t.Fatalf("%+v %v", c, err)
	}
	if a := r.record(run).Attempts["a"]; len(a) != 1 {
		t.Errorf("attempts: %+v", a)
	}
}

func TestProgramDies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("done"), StepNode("half"), StepNode("after", "done", "half"))
	run := r.create(s)
	sess := r.open(r.engine, run)
	jobs := map[string]Job{}
	for len(jobs) < 2 {
		var held []string
		for _, j := range jobs {
			held = append(held, j.Attempt)
		}
		for _, j := range r.poll(r.engine, run, held...).Start {
			jobs[j.Step] = j
		}
	}
	r.leave(jobs["done"], Value("1"))
	sess.End()
	end, err := r.engine.Wait(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, end.Err, diag.Interrupted, "program is gone")
	rec := r.record(run)
	if rec.Run.State != model.RunRunning || r.states(run) != "done:completed half:running after:pending" {
		t.Errorf("%s: %s", rec.Run.State, r.states(run))
	}
	if a := rec.Attempts["half"]; a[0].State != model.AttemptLost {
		t.Errorf("half: %+v", a)
	}
	// The same host, still alive, can go on with it.
	if err := r.resume(r.engine, run, s, false); err != nil {
		t.Fatal(err)
	}
	p := r.program(run, map[string]StepFunc{"half": value("x"), "after": value("y")})
	play(t, p, model.RunCompleted)
	if got := strings.Join(p.Started, " "); got != "half after" {
		t.Errorf("the resume ran %s", got)
	}
}

func TestCloseKeepsWhatAProgramRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := spec(StepNode("a"))
	run := r.create(s)
	job := r.first(r.engine, run)
	if err := r.engine.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := r.record(run).Attempts["a"]; a[0].State != model.AttemptRunning {
		t.Errorf("a: %+v", a)
	}
	if r.stack.Open != 0 {
		t.Errorf("%d stacks are open", r.stack.Open)
	}
	r.leave(job, Value("1"))
	r.journal.SetAlive("host-1", false)
	two := r.another("host-2")
	if err := r.resume(two, run, s, false); err != nil {
		t.Fatal(err)
	}
	if end, err := two.Wait(t.Context(), run); err != nil || end.State != model.RunCompleted {
		t.Errorf("%+v %v", end, err)
	}
	// A program that comes now hears that all is done.
	p := &Program{Engine: two, Run: run, Session: "t", Slots: 1}
	play(t, p, model.RunCompleted)
	_, err := r.engine.CreateRun(t.Context(), NewRunRequest{ID: r.engine.newID(), Project: "p", Spec: s})
	wantCode(t, err, diag.Interrupted, "host ends")
}
