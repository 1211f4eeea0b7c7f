package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Session binds a program to a run. End it when the program's stream ends.
type Session struct {
	// RunLogPath is where the program writes the run's own log.
	RunLogPath string
	done       <-chan struct{}
	end        func()
}

// Done is closed when this engine is done with the run.
func (s *Session) Done() <-chan struct{} { return s.done }

// End says that the program's stream is gone. The program may take its session
// up again, for a short while; Interrupt says that it is dead. It may be called
// more than once.
func (s *Session) End() { s.end() }

// OpenSession binds a program to a run that this engine drives. The session's
// name is the program's choice: a lost one is taken up again by the same name,
// together with the attempts that it holds.
func (e *Engine) OpenSession(ctx context.Context, runID, session string) (*Session, error) {
	r := e.get(runID)
	if r == nil {
		return nil, errNotDriven(runID)
	}
	if session == "" {
		return nil, diag.Errorf(diag.Invalid, "run %s: a session needs a name", runID)
	}
	var turn int
	var err error
	derr := r.do(ctx, func() { turn, err = r.openSession(session, e.cfg.Now()) })
	if derr == errOver && r.end.Err == nil {
		// All is done already; NextJob says so.
		return &Session{RunLogPath: e.cfg.RunLog(runID), done: r.done, end: func() {}}, nil
	}
	if derr != nil {
		err = r.overErr(derr)
	}
	if err != nil {
		return nil, err
	}
	var once sync.Once
	return &Session{
		RunLogPath: e.cfg.RunLog(runID), done: r.done,
		end: func() { once.Do(func() { go r.post(func() { r.endSession(turn, e.cfg.Now()) }) }) },
	}, nil
}

// overErr says why loop did not answer.
func (r *run) overErr(err error) error {
	if err != errOver {
		return err
	}
	if r.end.Err != nil {
		return r.end.Err
	}
	return diag.Errorf(diag.Refused, "run %s has ended: %s", r.id, r.end.State)
}

// NextJob waits for something to start or to stop. It answers at once where
// there is something, and with an empty reply when the wait is over. An error of
// code Interrupted says that the engine let go of the run.
func (e *Engine) NextJob(ctx context.Context, req JobRequest) (JobReply, error) {
	r := e.get(req.Run)
	if r == nil {
		return e.pastReply(ctx, req.Run)
	}
	wait := req.Wait
	if wait <= 0 || wait > maxPoll {
		wait = maxPoll
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	p := &poll{req: req, reply: make(chan pollReply, 1)}
	select {
	case r.mail <- func() { r.addPoll(p, e.cfg.Now()) }:
	case <-r.done:
		return r.lastReply()
	case <-ctx.Done():
		return JobReply{}, ctx.Err()
	case <-timer.C:
		return JobReply{}, nil
	}
	select {
	case got := <-p.reply:
		return got.reply, got.err
	case <-r.done:
		select {
		case got := <-p.reply:
			return got.reply, got.err
		default:
			return r.lastReply()
		}
	case <-ctx.Done():
		r.withdraw(p)
		return JobReply{}, ctx.Err()
	case <-timer.C:
		r.withdraw(p)
		return JobReply{}, nil
	}
}

// withdraw takes a poll back. An answer that crosses it is lost, and what it
// gave is given again, since the next request does not list it.
func (r *run) withdraw(p *poll) {
	go r.post(func() {
		if r.poll == p {
			r.poll = nil
		}
		if r.early == p {
			r.early = nil
		}
	})
}

// pastReply answers for a run that this engine does not know.
func (e *Engine) pastReply(ctx context.Context, runID string) (JobReply, error) {
	rec, err := e.cfg.Journal.LoadRun(ctx, runID)
	if err != nil {
		return JobReply{}, explain(runID, "read it", err)
	}
	if rec.Run.State.Final() {
		return JobReply{Done: true, RunState: rec.Run.State}, nil
	}
	return JobReply{}, errInterrupted(runID, "this host does not drive it")
}

// completed is the answer to a CompleteJob that waits.
type completed struct {
	c   Completion
	err error
}

func answer(c Completion, err error) completed { return completed{c, err} }

// CompleteJob says that an attempt's result stands in its directory. It answers
// after the commit, and the same when it is asked again. Which session asks does
// not matter: what counts is whether the attempt is the current one.
func (e *Engine) CompleteJob(ctx context.Context, runID, _, attempt string) (Completion, error) {
	r := e.get(runID)
	if r == nil {
		return e.pastCompletion(ctx, runID, attempt)
	}
	done := make(chan completed, 1)
	select {
	case r.mail <- func() { r.complete(attempt, done) }:
	case <-r.done:
		return r.completion(attempt)
	case <-ctx.Done():
		return Completion{}, ctx.Err()
	}
	select {
	case c := <-done:
		return c.c, c.err
	case <-r.done:
		return r.completion(attempt)
	case <-ctx.Done():
		return Completion{}, ctx.Err()
	}
}

// complete is called by loop.
func (r *run) complete(id string, done chan completed) {
	a := r.m.attempts[id]
	if a == nil || a.state.Final() {
		if a != nil {
			r.release(id)
		}
		// What is known in memory may be in the commit that comes.
		r.after = append(r.after, func(committed bool) {
			if committed {
				done <- answer(r.completion(id))
			}
		})
		return
	}
	if !a.given {
		done <- answer(Completion{}, diag.Errorf(diag.Refused, "attempt %s was not handed out", id))
		return
	}
	r.waiters[id] = append(r.waiters[id], done)
	if !a.offered {
		r.startOffer(a)
	}
}

// pastCompletion answers for a run that this engine does not know.
func (e *Engine) pastCompletion(ctx context.Context, runID, attempt string) (Completion, error) {
	rec, err := e.cfg.Journal.LoadRun(ctx, runID)
	if err != nil {
		return Completion{}, explain(runID, "read it", err)
	}
	for _, attempts := range rec.Attempts {
		for _, a := range attempts {
			if a.ID != attempt {
				continue
			}
			if !a.State.Final() {
				return Completion{Outcome: OutcomeFenced, Detail: "this host does not drive the run"}, nil
			}
			return completionOf(a.State, a.Error), nil
		}
	}
	return Completion{}, diag.Errorf(diag.NotFound, "run %s has no attempt %s", runID, attempt)
}

// StepSecret gives a secret to a live attempt whose step declared it.
func (e *Engine) StepSecret(ctx context.Context, runID, attempt, name string) (map[string]string, error) {
	r := e.active(runID)
	if r == nil {
		return nil, errNotDriven(runID)
	}
	var err error
	if derr := r.do(ctx, func() { err = r.maySee(attempt, name) }); derr != nil {
		err = r.overErr(derr)
	}
	if err != nil {
		return nil, err
	}
	return e.cfg.Secrets.SecretValues(ctx, name)
}

func (r *run) maySee(attempt, name string) error {
	a := r.m.attempts[attempt]
	if a == nil || a.state.Final() || !a.given {
		return diag.Errorf(diag.Refused, "attempt %s does not run", attempt)
	}
	declared := a.step.node.Step.Secrets
	if slices.Contains(declared, name) && r.e.cfg.Secrets != nil {
		return nil
	}
	return &diag.Error{
		Code: diag.Refused, Summary: fmt.Sprintf("step '%s' does not declare the secret '%s'%s", a.step.node.Name, name, diag.DidYouMean(name, declared)),
		Hint: "Declare the secret among the step's options.",
	}
}

// SetProvenance records what made a run that this engine drives, with the next
// commit of the run. The last one given counts.
func (e *Engine) SetProvenance(ctx context.Context, runID string, p model.Provenance) error {
	r := e.active(runID)
	if r == nil {
		return errNotDriven(runID)
	}
	err := r.do(ctx, func() {
		now := e.cfg.Now()
		r.addLazy(model.Change{ID: e.newID(), At: now, Op: model.SetProvenance{Provenance: p}}, now)
	})
	if err != nil {
		return r.overErr(err)
	}
	return nil
}
