package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-stack/cairn/host/model"
)

// testModel applies random changes, fitting or not, old or new, and compares
// what the journal says and holds with a machine of a few lines.
func testModel(t *testing.T, b *bed) {
	second := b.open(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt, b, second)
		rt.Repeat(map[string]func(*rapid.T){
			"apply":   m.applyAction,
			"replay":  m.replayAction,
			"seal":    m.sealAction,
			"acquire": m.acquireAction,
			"cancel":  m.cancelAction,
			"":        m.check,
		})
	})
}

// mStep and mRun are the machine's state: a run as the state tables say.
type mStep struct {
	state            model.StepState
	attempts         []mAttempt
	failures, losses int
}

type mAttempt struct {
	id    string
	state model.AttemptState
	epoch int64
}

type mRun struct {
	state   model.RunState
	owner   string
	epoch   int64
	seq     int64
	steps   map[string]*mStep
	known   map[string]bool
	cancel  bool
	outputs int
}

func (r *mRun) clone() *mRun {
	c := *r
	c.known = maps.Clone(r.known)
	c.steps = map[string]*mStep{}
	for name, s := range r.steps {
		d := *s
		d.attempts = slices.Clone(s.attempts)
		c.steps[name] = &d
	}
	return &c
}

// machine drives a journal, through two handles, beside the state that it is to
// be in.
type machine struct {
	b        *bed
	journals []Journal
	runID    string
	artifact string
	run      *mRun
	// sent are batches that were applied, with their epochs.
	sent []sentBatch
}

type sentBatch struct {
	epoch   int64
	changes []model.Change
}

var machineSteps = []string{"a", "b", "c"}

func newMachine(rt *rapid.T, b *bed, second Journal) *machine {
	n := NewRun("h0-"+id(), machineSteps...)
	first := id()
	n.Reserve = []model.Change{reserve("a", first)}
	run, err := b.j.CreateRun(context.Background(), n)
	if err != nil {
		rt.Fatal(err)
	}
	b.hosts.set(run.Owner, rapid.Bool().Draw(rt, "owner lives"))
	m := &machine{b: b, journals: []Journal{b.j, second}, runID: run.ID, artifact: "m" + run.Name,
		run: &mRun{state: model.RunRunning, owner: run.Owner, epoch: 1, seq: 2, steps: map[string]*mStep{}, known: map[string]bool{}}}
	for _, s := range machineSteps {
		m.run.steps[s] = &mStep{state: model.StepPending}
	}
	m.run.steps["a"].state = model.StepRunning
	m.run.steps["a"].attempts = []mAttempt{{first, model.AttemptReserved, 1}}
	return m
}

func (m *machine) journal(rt *rapid.T) Journal {
	return rapid.SampledFrom(m.journals).Draw(rt, "journal")
}

// attemptOf draws an attempt of a step: mostly its current one.
func (m *machine) attemptOf(rt *rapid.T, step string) string {
	attempts := m.run.steps[step].attempts
	if len(attempts) == 0 {
		return "none"
	}
	if rapid.IntRange(0, 4).Draw(rt, "which attempt") > 0 {
		return attempts[len(attempts)-1].id
	}
	return rapid.SampledFrom(attempts).Draw(rt, "attempt").id
}

func (m *machine) op(rt *rapid.T) model.Op {
	step := rapid.SampledFrom(machineSteps).Draw(rt, "step")
	attempt := m.attemptOf(rt, step)
	switch rapid.IntRange(0, 6).Draw(rt, "op") {
	case 0, 1:
		return model.ReserveAttempt{Attempt: model.Attempt{ID: id(), Step: step}}
	case 2:
		return model.StartAttempt{Step: step, Attempt: attempt, Incarnation: "i"}
	case 3:
		states := []model.AttemptState{model.AttemptFailed, model.AttemptLost, model.AttemptTimedOut, model.AttemptCancelled}
		return model.EndAttempt{Step: step, Attempt: attempt, State: rapid.SampledFrom(states).Draw(rt, "end")}
	case 4:
		return model.PublishStep{Step: step, Attempt: attempt, Incarnation: "i",
			Outputs: []model.PublishedOutput{output("o", m.artifact, m.artifact+step)}}
	case 5:
		states := []model.StepState{model.StepFailed, model.StepSkipped, model.StepCancelled}
		return model.EndStep{Step: step, State: rapid.SampledFrom(states).Draw(rt, "end")}
	}
	return model.ResetStep{Step: step}
}

func (m *machine) applyAction(rt *rapid.T) {
	epoch := m.run.epoch
	if rapid.IntRange(0, 9).Draw(rt, "other epoch") == 0 {
		epoch = rapid.Int64Range(1, m.run.epoch+1).Draw(rt, "epoch")
	}
	var changes []model.Change
	for range rapid.IntRange(1, 3).Draw(rt, "changes") {
		changes = append(changes, change(m.op(rt)))
	}
	m.apply(rt, epoch, changes)
}

func (m *machine) replayAction(rt *rapid.T) {
	if len(m.sent) == 0 {
		rt.Skip()
	}
	old := rapid.SampledFrom(m.sent).Draw(rt, "batch")
	m.apply(rt, old.epoch, old.changes)
}

// sealAction ends all that is open and, with it, the run.
func (m *machine) sealAction(rt *rapid.T) {
	var changes []model.Change
	for _, name := range machineSteps {
		s := m.run.steps[name]
		if n := len(s.attempts); n > 0 && !s.attempts[n-1].state.Final() {
			changes = append(changes, change(model.EndAttempt{Step: name, Attempt: s.attempts[n-1].id, State: model.AttemptCancelled}))
		}
		if !s.state.Final() && rapid.IntRange(0, 5).Draw(rt, "end the step") > 0 {
			changes = append(changes, change(model.EndStep{Step: name, State: model.StepCancelled}))
		}
	}
	end := rapid.SampledFrom([]model.RunState{model.RunFailed, model.RunFailed, model.RunCancelled, model.RunCompleted}).Draw(rt, "state")
	m.apply(rt, m.run.epoch, append(changes, change(model.EndRun{State: end})))
}

func (m *machine) apply(rt *rapid.T, epoch int64, changes []model.Change) {
	next, want := m.predict(epoch, changes)
	seq, err := m.journal(rt).Apply(context.Background(), m.runID, epoch, changes)
	switch {
	case want == nil && (err != nil || seq != next.seq):
		rt.Fatalf("epoch %d, %s: seq %d, %v; want %d", epoch, describe(changes), seq, err, next.seq)
	case want != nil && !errors.Is(err, want):
		rt.Fatalf("epoch %d, %s: %v; want %v", epoch, describe(changes), err, want)
	}
	if want == nil {
		m.run = next
		m.sent = append(m.sent, sentBatch{epoch, changes})
	}
}

func describe(changes []model.Change) string {
	s := ""
	for _, c := range changes {
		s += fmt.Sprintf("%T%+v ", c.Op, c.Op)
	}
	return s
}

// predict says what a journal must answer, and what it must then hold.
func (m *machine) predict(epoch int64, changes []model.Change) (*mRun, error) {
	if epoch < m.run.epoch {
		return nil, model.ErrFenced
	}
	if epoch > m.run.epoch {
		return nil, model.ErrConflict
	}
	next := m.run.clone()
	for _, c := range changes {
		if next.known[c.ID] {
			continue
		}
		if next.state != model.RunRunning || !next.carryOut(c.Op) {
			return nil, model.ErrConflict
		}
		next.known[c.ID] = true
		next.seq++
	}
	if m.run.state == model.RunRunning && next.state != model.RunRunning {
		next.known = map[string]bool{}
		for _, c := range changes {
			next.known[c.ID] = true
		}
	}
	return next, nil
}

// carryOut does an operation, and reports whether the state tables allow it.
func (r *mRun) carryOut(op model.Op) bool {
	switch op := op.(type) {
	case model.ReserveAttempt:
		s := r.steps[op.Attempt.Step]
		if s.state.Final() {
			return false
		}
		if last := s.last(); last != nil && !last.state.Final() {
			last.state = model.AttemptSuperseded
		}
		s.attempts = append(s.attempts, mAttempt{op.Attempt.ID, model.AttemptReserved, r.epoch})
		s.state = model.StepRunning
		return true
	case model.StartAttempt:
		return r.steps[op.Step].moveTo(op.Attempt, model.AttemptRunning)
	case model.EndAttempt:
		s := r.steps[op.Step]
		switch op.State {
		case model.AttemptFailed, model.AttemptTimedOut:
			s.failures++
		case model.AttemptLost:
			s.losses++
		}
		return s.moveTo(op.Attempt, op.State)
	case model.PublishStep:
		s := r.steps[op.Step]
		ok := s.moveTo(op.Attempt, model.AttemptCompleted)
		s.state = model.StepCompleted
		r.outputs++
		return ok
	case model.EndStep:
		s := r.steps[op.Step]
		from := map[model.StepState][]model.StepState{
			model.StepFailed:    {model.StepRunning},
			model.StepSkipped:   {model.StepPending},
			model.StepCancelled: {model.StepPending, model.StepRunning},
		}
		if !slices.Contains(from[op.State], s.state) || s.last() != nil && !s.last().state.Final() {
			return false
		}
		s.state = op.State
		return true
	case model.ResetStep:
		s := r.steps[op.Step]
		if !slices.Contains([]model.StepState{model.StepFailed, model.StepCancelled, model.StepSkipped}, s.state) {
			return false
		}
		s.state, s.failures, s.losses = model.StepPending, 0, 0
		return true
	case model.EndRun:
		for _, s := range r.steps {
			if !s.state.Final() {
				return false
			}
		}
		r.state, r.cancel = op.State, false
		return true
	}
	return false
}

func (s *mStep) last() *mAttempt {
	if len(s.attempts) == 0 {
		return nil
	}
	return &s.attempts[len(s.attempts)-1]
}

// moveTo moves the current attempt of a running step to a state.
func (s *mStep) moveTo(attempt string, to model.AttemptState) bool {
	last := s.last()
	if s.state != model.StepRunning || last == nil || last.id != attempt || last.state.Final() {
		return false
	}
	last.state = to
	return true
}

func (m *machine) acquireAction(rt *rapid.T) {
	host := "h" + id()
	takeOver := rapid.Bool().Draw(rt, "take over")
	m.b.hosts.set(host, rapid.Bool().Draw(rt, "lives"))
	run, err := m.journal(rt).Acquire(context.Background(), m.runID, host, id(), takeOver)
	var want error
	switch {
	case m.run.state == model.RunCompleted:
		want = model.ErrConflict
	case m.run.state == model.RunRunning && !takeOver && m.b.hosts.alive(m.run.owner):
		want = model.ErrOwned
	}
	if want != nil {
		if !errors.Is(err, want) {
			rt.Fatalf("acquire: %v; want %v", err, want)
		}
		return
	}
	m.run.owner, m.run.epoch, m.run.state = host, m.run.epoch+1, model.RunRunning
	m.run.seq++
	if err != nil || run.Epoch != m.run.epoch || run.Owner != host || run.Seq != m.run.seq {
		rt.Fatalf("acquire: %+v, %v; want epoch %d, seq %d", run, err, m.run.epoch, m.run.seq)
	}
}

func (m *machine) cancelAction(rt *rapid.T) {
	err := m.journal(rt).AskCancel(context.Background(), m.runID, "somebody", id())
	if m.run.state != model.RunRunning {
		if !errors.Is(err, model.ErrConflict) {
			rt.Fatalf("cancel: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("cancel: %v", err)
	}
	if !m.run.cancel {
		m.run.cancel = true
		m.run.seq++
	}
}

// check compares what the journal holds with the machine.
func (m *machine) check(rt *rapid.T) {
	rec, err := m.journal(rt).LoadRun(context.Background(), m.runID)
	if err != nil {
		rt.Fatal(err)
	}
	type held struct {
		State  model.RunState
		Owner  string
		Epoch  int64
		Seq    int64
		Cancel bool
		Steps  map[string]string
	}
	got := held{rec.Run.State, rec.Run.Owner, rec.Run.Epoch, rec.Run.Seq, rec.Run.CancelRequested, map[string]string{}}
	want := held{m.run.state, m.run.owner, m.run.epoch, m.run.seq, m.run.cancel, map[string]string{}}
	outputs := 0
	for _, s := range rec.Steps {
		text := fmt.Sprintf("%s f%d l%d", s.State, s.Failures, s.Losses)
		for _, a := range rec.Attempts[s.Name] {
			text += fmt.Sprintf(" %s:%s:%d", a.ID, a.State, a.Epoch)
		}
		got.Steps[s.Name] = text
		outputs += len(rec.Outputs[s.Name])
	}
	for name, s := range m.run.steps {
		text := fmt.Sprintf("%s f%d l%d", s.state, s.failures, s.losses)
		for _, a := range s.attempts {
			text += fmt.Sprintf(" %s:%s:%d", a.id, a.state, a.epoch)
		}
		want.Steps[name] = text
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("the journal holds something else:\n%s", diff)
	}
	if outputs != m.run.outputs {
		rt.Fatalf("%d outputs, want %d", outputs, m.run.outputs)
	}
	events, err := m.journals[0].Events(context.Background(), m.runID, 0, 0)
	if err != nil || int64(len(events)) != m.run.seq {
		rt.Fatalf("%d events, %v; seq is %d", len(events), err, m.run.seq)
	}
}
