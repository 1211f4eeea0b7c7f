package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Cancel cancels a run: one that this engine drives, or one that no living host
// owns, which it acquires first. The error matches model.ErrOwned where another
// living host owns the run: leave an intent for it. It returns when the cancel
// is under way; Done says when it is over.
func (e *Engine) Cancel(ctx context.Context, runID string) error {
	if r := e.active(runID); r != nil {
		var done chan struct{}
		err := r.do(ctx, func() {
			r.m.cancel(e.cfg.Now())
			done = make(chan struct{})
			r.after = append(r.after, func(bool) { close(done) })
		})
		if err == errOver {
			return r.overErr(err)
		}
		if err != nil {
			return err
		}
		select {
		case <-done:
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		return nil
	}
	defer e.lock(runID)()
	return e.cancelInterrupted(ctx, runID)
}

// cancelInterrupted ends a run that nobody drives, in one commit.
func (e *Engine) cancelInterrupted(ctx context.Context, runID string) error {
	rec, err := e.cfg.Journal.LoadRun(ctx, runID)
	if err != nil {
		return explain(runID, "read it", err)
	}
	if rec.Run.State.Final() {
		return diag.Errorf(diag.Refused, "run %s has ended already: it is %s", rec.Run.Name, rec.Run.State)
	}
	p, err := newPlan(rec.Spec)
	if err != nil {
		return err
	}
	run, err := e.cfg.Journal.Acquire(ctx, runID, e.cfg.HostID, e.newID(), rec.Run.Owner == e.cfg.HostID)
	if err != nil {
		return explain(runID, "acquire it", err)
	}
	if rec, err = e.cfg.Journal.LoadRun(ctx, runID); err != nil {
		return explain(runID, "read it", err)
	}
	m := newMachine(p, runID, run.Epoch, e.rules())
	m.load(rec)
	m.cancel(e.cfg.Now())
	if _, err := e.cfg.Journal.Apply(ctx, runID, run.Epoch, m.take()); err != nil {
		return explain(runID, "cancel it", err)
	}
	return nil
}

// close lets go of a run because the host ends. A program that is at work keeps
// its attempts: a resume adopts what it finished.
func (r *run) close(now time.Time) {
	if r.leaving != nil {
		return
	}
	why := errInterrupted(r.id, "the host ends")
	if !r.sess.open {
		r.leave(why, now)
		return
	}
	r.leaving, r.m.idle = why, true
	r.adoptStanding()
	r.lazyAt = now
}

// differences says what a spec has that another has not, for people.
func differences(was, is model.Spec) diag.List {
	var found diag.List
	add := func(path, format string, args ...any) {
		found = append(found, finding(path, fmt.Sprintf(format, args...), ""))
	}
	if was.Pipeline != is.Pipeline {
		add("pipeline", "it was '%s' and is '%s'", was.Pipeline, is.Pipeline)
	}
	if was.FailureMode != is.FailureMode {
		add("failure_mode", "it was '%s' and is '%s'", was.FailureMode, is.FailureMode)
	}
	compareParameters(was.Parameters, is.Parameters, add)
	compareNodes(was.Nodes, is.Nodes, add)
	return found
}
