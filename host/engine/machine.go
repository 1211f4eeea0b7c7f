package engine

import (
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/host/model"
)

// machine is the bookkeeping of one run: what is known of its steps, and the
// rules by which events change it. Each method takes an event and appends to
// out what the journal has to hold for it; nothing here waits, reads a clock or
// touches a file. Not safe for concurrent use.
type machine struct {
	plan  *plan
	runID string
	epoch int64
	rules rules

	state model.RunState
	err   string
	steps []*step
	// open counts the steps that are not final.
	open     int
	attempts map[string]*attempt
	// live are the attempts that have not ended, in no order.
	live map[string]*attempt
	// idle: there is no program, so nothing is reserved.
	idle bool
	// cancelled: a cancel was asked for. failed: the first step that failed and
	// stopped the run, where the failure mode says so.
	cancelled bool
	failed    *step

	out []model.Change
	// ended are the attempts whose end is in out, or was taken and is not
	// committed yet.
	ended []*attempt
}

// rules are what the machine decides by, and where its ids come from.
type rules struct {
	maxLosses int
	grace     time.Duration
	random    func() float64
	newID     func() string
}

type step struct {
	node  *model.Node
	at    int
	state model.StepState
	err   string
	// waits counts the needs that are not completed.
	waits            int
	number           int
	failures, losses int
	// cur is the newest attempt; nil before the first.
	cur *attempt
}

type attempt struct {
	id     string
	step   *step
	number int
	state  model.AttemptState
	epoch  int64
	err    string

	notBefore   time.Time
	incarnation string
	startedAt   time.Time
	// taken: it is being made ready for a program. given: a program was told of
	// it. offered: its result is being looked at, so its slot is free.
	taken, given, offered bool
	// deadline is when it times out; stopBy is when it is fenced, having been
	// told to stop. Zero for never.
	deadline, stopBy time.Time
	timedOut         bool
	// committed: its end is in the journal.
	committed bool
}

func newMachine(p *plan, runID string, epoch int64, r rules) *machine {
	m := &machine{
		plan: p, runID: runID, epoch: epoch, rules: r, state: model.RunRunning,
		attempts: map[string]*attempt{}, live: map[string]*attempt{}, open: len(p.spec.Nodes),
	}
	for i := range p.spec.Nodes {
		m.steps = append(m.steps, &step{node: &p.spec.Nodes[i], at: i, state: model.StepPending, waits: len(p.needs[i])})
	}
	return m
}

// load fills a new machine with what the journal knows of its run.
func (m *machine) load(rec model.RunRecord) {
	m.state, m.err, m.epoch = rec.Run.State, rec.Run.Error, rec.Run.Epoch
	m.open = 0
	for _, sr := range rec.Steps {
		s := m.steps[m.plan.index[sr.Name]]
		s.state, s.err, s.failures, s.losses = sr.State, sr.Error, sr.Failures, sr.Losses
		for _, a := range rec.Attempts[sr.Name] {
			m.add(&attempt{
				id: a.ID, step: s, number: a.Number, state: a.State, epoch: a.Epoch, err: a.Error,
				notBefore: a.NotBefore, incarnation: a.Incarnation, startedAt: a.StartedAt, committed: a.State.Final(),
			})
		}
		if !s.state.Final() {
			m.open++
		}
	}
	for i, s := range m.steps {
		s.waits = 0
		for _, j := range m.plan.needs[i] {
			if m.steps[j].state != model.StepCompleted {
				s.waits++
			}
		}
	}
}

func (m *machine) add(a *attempt) {
	a.step.cur, a.step.number = a, a.number
	m.attempts[a.id] = a
	if !a.state.Final() {
		m.live[a.id] = a
	}
}

// take gives what the events since the last call have to write.
func (m *machine) take() []model.Change {
	out := m.out
	m.out = nil
	return out
}

// committed notes that all that was taken is in the journal.
func (m *machine) committed() {
	for _, a := range m.ended {
		a.committed = true
	}
	m.ended = m.ended[:0]
}

func (m *machine) emit(now time.Time, op model.Op) {
	m.out = append(m.out, model.Change{ID: m.rules.newID(), At: now, Op: op})
}

// begin reserves the first attempts of a new run.
func (m *machine) begin(now time.Time) { m.settle(now) }

// resume goes on with a loaded run in a new epoch. Failed, cancelled and skipped
// steps begin anew; live attempts of former epochs are lost, but for those whose
// result stands, and for those that no program was given.
func (m *machine) resume(now time.Time, stands, given func(*attempt) bool) {
	m.state, m.err, m.cancelled, m.failed = model.RunRunning, "", false, nil
	for _, i := range m.plan.order {
		if s := m.steps[i]; s.state.Final() && s.state != model.StepCompleted {
			m.emit(now, model.ResetStep{Step: s.node.Name})
			s.state, s.err, s.failures, s.losses = model.StepPending, "", 0, 0
			m.open++
		}
	}
	for _, a := range m.sorted() {
		switch {
		case stands(a):
			a.taken, a.given, a.offered = true, true, true
		case given(a):
			m.lose(a, "the host or the program ended while it ran", now)
		default:
			m.reserve(a.step, now, time.Time{})
		}
	}
	m.settle(now)
}

// ready are the attempts that may be given to a program now, in the order of
// the plan.
func (m *machine) ready(now time.Time) []*attempt {
	var found []*attempt
	for _, a := range m.live {
		if !a.taken && !a.notBefore.After(now) {
			found = append(found, a)
		}
	}
	sortByStep(found)
	return found
}

// occupied counts the slots that live attempts take.
func (m *machine) occupied() int {
	n := 0
	for _, a := range m.live {
		if a.taken && !a.offered {
			n++
		}
	}
	return n
}

// give notes that a program is told of an attempt, for the first time.
func (m *machine) give(a *attempt, incarnation string, now time.Time) model.Change {
	a.given, a.incarnation, a.state, a.startedAt = true, incarnation, model.AttemptRunning, now
	if t := a.step.node.Step.Timeout; t > 0 {
		a.deadline = now.Add(t)
	}
	return model.Change{ID: m.rules.newID(), At: now, Op: model.StartAttempt{Step: a.step.node.Name, Attempt: a.id, Incarnation: incarnation}}
}

// publish completes a step with the offer of its live attempt.
func (m *machine) publish(a *attempt, op model.PublishStep, now time.Time) {
	m.emit(now, op)
	a.incarnation = op.Incarnation
	m.close(a, model.AttemptCompleted, "")
	m.finish(a.step, model.StepCompleted, "")
	for _, j := range m.plan.feeds[a.step.at] {
		m.steps[j].waits--
	}
	m.settle(now)
}

// failure is why an attempt ended badly.
type failure struct {
	message, hint, trace string
	// cancelled: the attempt's context was ended in the program.
	permanent, timedOut, cancelled bool
}

// fail ends a live attempt as failed or timed out; the step is tried again where
// it may be.
func (m *machine) fail(a *attempt, f failure, now time.Time) {
	state := model.AttemptFailed
	switch {
	case m.halted():
		m.end(a, model.AttemptCancelled, f.message, f.trace, now)
		m.endStep(a.step, model.StepCancelled, m.whyHalted(), "", now)
		m.settle(now)
		return
	case f.timedOut || a.timedOut:
		state = model.AttemptTimedOut
	}
	m.end(a, state, f.message, f.trace, now)
	s := a.step
	s.failures++
	retry := s.node.Step.Retry
	if f.permanent || s.failures > retry.MaxRetries || m.stopping() {
		m.failStep(s, f.message, f.hint, now)
	} else {
		m.reserve(s, now, now.Add(backoff(retry, s.failures, m.rules.random())))
	}
	m.settle(now)
}

// lose ends a live attempt as lost; the next settle tries the step again, unless
// it was lost too often.
func (m *machine) lose(a *attempt, why string, now time.Time) {
	m.end(a, model.AttemptLost, why, "", now)
	a.step.losses++
	if a.step.losses >= m.rules.maxLosses {
		m.failStep(a.step, fmt.Sprintf("lost %d times, the last time since %s", a.step.losses, why),
			"The step may end its own program or host, or use up memory: see its log.", now)
	}
}

// cancel stops the run: what no program has ends now, the rest is told to stop
// and fenced after the grace.
func (m *machine) cancel(now time.Time) {
	if m.state.Final() || m.cancelled {
		return
	}
	m.cancelled = true
	m.settle(now)
}

// hang ends the run because every slot is taken by attempts that were fenced and
// do not end.
func (m *machine) hang(names string, now time.Time) {
	for _, a := range m.sorted() {
		m.end(a, model.AttemptCancelled, "no slot was left", "", now)
		m.failStep(a.step, fmt.Sprintf("hung: no slot is left, because step %s did not end after its timeout", names),
			"A step must end when its context is done. End the program, mend the step, and resume the run.", now)
	}
	m.settle(now)
}

// tick notices timeouts, and fences the attempts whose grace is over. It gives
// those fenced.
func (m *machine) tick(now time.Time) []*attempt {
	var fenced []*attempt
	for _, a := range m.sorted() {
		if a.offered {
			continue
		}
		if !a.timedOut && !a.deadline.IsZero() && !a.deadline.After(now) {
			a.timedOut = true
			m.stop(a, now)
		}
		if a.stopBy.IsZero() || a.stopBy.After(now) {
			continue
		}
		fenced = append(fenced, a)
		if a.timedOut {
			m.fail(a, failure{message: fmt.Sprintf("timed out after %s, and did not stop within %s", a.step.node.Step.Timeout, m.rules.grace), timedOut: true}, now)
		} else {
			m.fail(a, failure{message: fmt.Sprintf("did not stop within %s", m.rules.grace)}, now)
		}
	}
	return fenced
}

// wake is when tick or ready have something new to say; zero for never.
func (m *machine) wake(now time.Time) time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, a := range m.live {
		switch {
		case !a.taken && a.notBefore.After(now):
			earlier(a.notBefore)
		case a.offered:
		case !a.stopBy.IsZero():
			earlier(a.stopBy)
		default:
			earlier(a.deadline)
		}
	}
	return at
}

// stop tells a program to stop an attempt, once.
func (m *machine) stop(a *attempt, now time.Time) {
	if a.stopBy.IsZero() {
		a.stopBy = now.Add(m.rules.grace)
	}
}

// settle makes the run what its steps make it: reserves what is ready, skips
// what cannot run, stops what must not go on, and seals the run.
func (m *machine) settle(now time.Time) {
	if m.state.Final() {
		return
	}
	for _, i := range m.plan.order {
		s := m.steps[i]
		switch {
		case s.state.Final():
		case m.stopping():
			m.halt(s, now)
		case m.idle:
		case s.state == model.StepPending && s.waits == 0,
			s.state == model.StepRunning && s.cur.state.Final():
			m.reserve(s, now, time.Time{})
		}
	}
	if m.open == 0 {
		m.seal(now)
	}
}

// halt ends what has not begun of a step of a run that stops.
func (m *machine) halt(s *step, now time.Time) {
	switch {
	case s.state == model.StepPending && m.cancelled:
		m.endStep(s, model.StepCancelled, m.whyHalted(), "", now)
	case s.state == model.StepPending:
		m.endStep(s, model.StepSkipped, m.whyHalted(), "", now)
	case s.cur.state.Final():
		m.endStep(s, model.StepCancelled, m.whyHalted(), "", now)
	case !s.cur.given:
		m.end(s.cur, model.AttemptCancelled, "not started", "", now)
		m.endStep(s, model.StepCancelled, m.whyHalted(), "", now)
	case m.halted():
		m.stop(s.cur, now)
	}
}

// stopping: no attempt is begun any more.
func (m *machine) stopping() bool { return m.cancelled || m.failed != nil }

// halted: live attempts are not wanted any more.
func (m *machine) halted() bool {
	return m.cancelled || m.failed != nil && m.plan.spec.FailureMode == model.FailFast
}

func (m *machine) whyHalted() string {
	if m.cancelled || m.failed == nil {
		return "the run was cancelled"
	}
	return fmt.Sprintf("step '%s' failed", m.failed.node.Name)
}

func (m *machine) seal(now time.Time) {
	m.state = model.RunCompleted
	for _, i := range m.plan.order {
		s := m.steps[i]
		if s.state == model.StepCompleted {
			continue
		}
		if m.cancelled {
			m.state = model.RunCancelled
			break
		}
		m.state = model.RunFailed
		if s.state == model.StepFailed && m.err == "" {
			m.err = fmt.Sprintf("step '%s' failed: %s", s.node.Name, s.err)
		}
	}
	m.emit(now, model.EndRun{State: m.state, Error: m.err})
}

func (m *machine) reserve(s *step, now, notBefore time.Time) {
	if old := s.cur; old != nil && !old.state.Final() {
		m.close(old, model.AttemptSuperseded, "")
	}
	a := &attempt{
		id: m.rules.newID(), step: s, number: s.number + 1, state: model.AttemptReserved,
		epoch: m.epoch, notBefore: notBefore,
	}
	m.add(a)
	s.state = model.StepRunning
	m.emit(now, model.ReserveAttempt{Attempt: model.Attempt{
		ID: a.id, RunID: m.runID, Step: s.node.Name, Number: a.number, State: a.state,
		Epoch: m.epoch, Execution: model.Attached, NotBefore: notBefore,
	}})
}

func (m *machine) end(a *attempt, state model.AttemptState, why, trace string, now time.Time) {
	m.close(a, state, why)
	m.emit(now, model.EndAttempt{Step: a.step.node.Name, Attempt: a.id, State: state, Error: why, Trace: trace})
}

func (m *machine) close(a *attempt, state model.AttemptState, why string) {
	a.state, a.err = state, why
	delete(m.live, a.id)
	m.ended = append(m.ended, a)
}

// failStep fails a step, and with it what the failure mode says.
func (m *machine) failStep(s *step, why, hint string, now time.Time) {
	m.endStep(s, model.StepFailed, why, hint, now)
	if m.plan.spec.FailureMode != model.Continue {
		if m.failed == nil {
			m.failed = s
		}
		return
	}
	for _, j := range m.plan.descendants(s.at) {
		if d := m.steps[j]; d.state == model.StepPending {
			m.endStep(d, model.StepSkipped, fmt.Sprintf("step '%s' failed", s.node.Name), "", now)
		}
	}
}

func (m *machine) endStep(s *step, state model.StepState, why, hint string, now time.Time) {
	m.finish(s, state, why)
	m.emit(now, model.EndStep{Step: s.node.Name, State: state, Error: why, Hint: hint})
}

func (m *machine) finish(s *step, state model.StepState, why string) {
	s.state, s.err = state, why
	m.open--
}

// sorted gives the live attempts in the order of the plan.
func (m *machine) sorted() []*attempt {
	all := make([]*attempt, 0, len(m.live))
	for _, a := range m.live {
		all = append(all, a)
	}
	sortByStep(all)
	return all
}
