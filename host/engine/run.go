package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// run is the engine's work on one run. One goroutine, loop, owns all fields
// below mail; everybody else sends it functions.
type run struct {
	e     *Engine
	id    string
	log   *slog.Logger
	stack Stack
	// done is closed when end is set and final.
	done chan struct{}
	end  End
	// paused is why the journal cannot be written now, while it cannot.
	paused atomic.Pointer[error]

	// ctx ends when the run is let go of; cancel is called by loop at its end,
	// or by a Close that waits no longer.
	ctx    context.Context
	cancel context.CancelFunc
	// wg counts the goroutines that work for loop.
	wg   sync.WaitGroup
	mail chan func()

	m       *machine
	project string
	// outputs of completed steps, by step and output.
	outputs map[string]map[string]boundOutput
	// jobs of attempts that were made ready, by attempt.
	jobs map[string]*readyJob
	// zombies were fenced while a program ran them, and still take a slot there.
	zombies map[string]bool
	sess    session
	poll    *poll
	// early is a poll that came before its session.
	early *poll
	// waiters are CompleteJob calls by attempt.
	waiters map[string][]chan completed
	offers  int
	// lazy changes need no commit of their own; they ride with the next one, or
	// are flushed at lazyAt.
	lazy   []model.Change
	lazyAt time.Time
	// after is called when what was changed is committed, or will never be.
	after []func(committed bool)
	over  bool
	// leaving: the program is gone, or the engine closes; the run is let go of
	// when no offer is being looked at.
	leaving error
	seen    identities
}

func (e *Engine) newRun(rec model.Run, m *machine, stack Stack) *run {
	ctx, cancel := context.WithCancel(context.Background())
	return &run{
		e: e, id: rec.ID, stack: stack, m: m, project: rec.Project,
		log:  e.cfg.Logger.With("run", rec.Name),
		done: make(chan struct{}), ctx: ctx, cancel: cancel, mail: make(chan func()),
		outputs: map[string]map[string]boundOutput{}, jobs: map[string]*readyJob{},
		zombies: map[string]bool{}, waiters: map[string][]chan completed{},
		sess: session{lostAt: e.cfg.Now(), grace: max(e.cfg.SessionGrace, firstSession)},
	}
}

// do has loop call f, and waits until it was called. It fails when the run is
// done, or ctx is.
func (r *run) do(ctx context.Context, f func()) error {
	called := make(chan struct{})
	select {
	case r.mail <- func() { f(); close(called) }:
	case <-r.done:
		return errOver
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-called:
		return nil
	case <-r.done:
		select {
		case <-called:
			return nil
		default:
			return errOver
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errOver says that loop has ended.
var errOver = errors.New("the engine is done with the run")

// post has loop call f, and reports whether it did: not when the run is done.
func (r *run) post(f func()) bool {
	select {
	case r.mail <- f:
		return true
	case <-r.done:
		return false
	}
}

// goes starts a goroutine that works for loop, and must end with ctx.
func (r *run) goes(f func()) {
	r.wg.Go(f)
}

// loop is the run's goroutine.
func (r *run) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !r.over {
		r.settle()
		if r.over {
			break
		}
		timer.Reset(r.untilNext())
		select {
		case f := <-r.mail:
			f()
			r.drain()
		case <-timer.C:
		case <-r.ctx.Done():
			r.letGo(r.end.State, errInterrupted(r.id, "the host ends"))
		}
	}
	r.finish()
}

// drain takes what else has come, so that it shares a commit.
func (r *run) drain() {
	for range 64 {
		select {
		case f := <-r.mail:
			f()
		default:
			return
		}
	}
}

// settle brings the run forward after whatever happened: timeouts, commit, work
// for the program, and the end.
func (r *run) settle() {
	now := r.e.cfg.Now()
	for _, a := range r.m.tick(now) {
		r.fence(a)
	}
	r.sessionTick(now)
	r.hungTick(now)
	r.commit(now)
	if r.over {
		return
	}
	if r.m.state.Final() {
		r.letGo(r.m.state, nil)
		return
	}
	if r.leaving != nil && r.offers == 0 {
		r.letGo(model.RunRunning, r.leaving)
		return
	}
	r.dispatch(now)
	r.serve(now)
}

func (r *run) untilNext() time.Duration {
	now := r.e.cfg.Now()
	wait := time.Hour
	earlier := func(t time.Time) {
		if !t.IsZero() {
			wait = min(wait, max(t.Sub(now), 0))
		}
	}
	earlier(r.m.wake(now))
	earlier(r.lazyAt)
	earlier(r.sess.expires())
	return wait
}

// commit applies what the machine wants written, and calls what waits for it.
func (r *run) commit(now time.Time) {
	changes := r.m.take()
	if len(changes) == 0 && (len(r.lazy) == 0 || r.lazyAt.After(now)) {
		r.ran(true)
		return
	}
	changes = append(r.lazy, changes...)
	r.lazy, r.lazyAt = nil, time.Time{}
	err := r.faultPoints(changes, "before")
	if err == nil {
		err = r.apply(changes)
	}
	if err == nil {
		err = r.faultPoints(changes, "after")
	}
	if err != nil {
		r.broken(err)
		return
	}
	r.m.committed()
	r.ran(true)
}

// ran calls what waited for a commit.
func (r *run) ran(committed bool) {
	after := r.after
	r.after = nil
	for _, f := range after {
		f(committed)
	}
}

func (r *run) faultPoints(changes []model.Change, when string) error {
	if !fault.Enabled {
		return nil
	}
	for _, c := range changes {
		switch c.Op.(type) {
		case model.PublishStep:
			if err := fault.Hit("engine.publish." + when); err != nil {
				return err
			}
		case model.ReserveAttempt:
			if err := fault.Hit("engine.reserve." + when); err != nil {
				return err
			}
		case model.EndAttempt:
			if err := fault.Hit("engine.end." + when); err != nil {
				return err
			}
		case model.EndRun:
			if err := fault.Hit("engine.seal." + when); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply writes changes, and tries again while the journal is busy: scheduling
// pauses, nothing fails.
func (r *run) apply(changes []model.Change) error {
	defer r.paused.Store(nil)
	for {
		_, err := r.e.cfg.Journal.Apply(r.ctx, r.id, r.m.epoch, changes)
		if !errors.Is(err, model.ErrBusy) {
			return err
		}
		if r.paused.Swap(&err) == nil {
			r.log.Warn("the journal cannot be written; the run pauses", "error", err)
		}
		select {
		case <-time.After(r.e.cfg.BusyRetry):
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
}

// broken lets go of a run whose changes could not be written for good.
func (r *run) broken(err error) {
	var fenced *model.FencedError
	switch {
	case errors.As(err, &fenced):
		r.log.Warn("fenced", "owner", fenced.Owner, "epoch", fenced.Epoch)
		r.letGo(model.RunRunning, errFenced(r.id, fenced))
	case r.ctx.Err() != nil:
		r.letGo(model.RunRunning, errInterrupted(r.id, "the host ends"))
	default:
		r.log.Error("the run's changes were refused", "error", err)
		r.letGo(model.RunRunning, &diag.Error{
			Code: diag.Internal, Summary: fmt.Sprintf("run %s stopped, because its journal refused a change", r.id),
			Detail: err.Error(), Hint: "cairn run resume " + r.id, Err: err,
		})
	}
	r.ran(false)
}

// letGo ends loop.
func (r *run) letGo(state model.RunState, err error) {
	r.over = true
	r.end = End{State: state, Error: r.m.err, Err: err}
	if err != nil {
		r.end.State = model.RunRunning
	}
}

// finish answers everybody who waits, and ends what works for the run.
func (r *run) finish() {
	for _, p := range []*poll{r.poll, r.early} {
		if p != nil {
			p.answer(r.lastReply())
		}
	}
	for id, waiting := range r.waiters {
		for _, w := range waiting {
			w <- answer(r.completion(id))
		}
	}
	clear(r.zombies)
	for id := range r.jobs {
		// What was made ready and never given can be made ready again.
		if a := r.m.attempts[id]; a.state.Final() && a.state != model.AttemptCompleted || !a.given {
			r.dropFiles(a)
		}
	}
	close(r.done)
	r.log.Info("done with the run", "state", r.end.State, "error", r.end.Error)
	r.e.finished(r)
	r.cancel()
	r.wg.Wait()
	if err := r.stack.Close(); err != nil {
		r.log.Warn("close stack", "error", err)
	}
}

// staging is where attempts' files lie.
func (r *run) staging() string {
	if d := r.stack.ArtifactStore().Facts().StagingDir; d != "" {
		return d
	}
	return r.e.cfg.StagingDir
}

// dir is the working directory of an attempt, and inputsDir that of its inputs.
// An attempt of an id has one, whichever host made it.
func (r *run) dir(attempt string) string { return filepath.Join(r.staging(), attempt) }

func (r *run) inputsDir(attempt string) string { return filepath.Join(r.staging(), attempt+".in") }

// dropFiles removes the files of an attempt that no program has any more.
func (r *run) dropFiles(a *attempt) {
	if !r.zombies[a.id] {
		delete(r.jobs, a.id)
		r.goes(func() { r.removeFiles(a.id) })
	}
}

// removeFiles removes the directories of an attempt. Most hold the result and
// nothing else, so that two calls do.
func (r *run) removeFiles(attempt string) {
	dir := r.dir(attempt)
	os.Remove(filepath.Join(dir, artifact.ResultFile))
	for _, dir := range []string{dir, r.inputsDir(attempt)} {
		if err := syscall.Rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			r.log.Warn("remove an attempt's files", "dir", dir, "error", err)
		}
	}
}

// addLazy keeps a change for the next commit.
func (r *run) addLazy(c model.Change, now time.Time) {
	r.lazy = append(r.lazy, c)
	if r.lazyAt.IsZero() {
		r.lazyAt = now.Add(r.e.cfg.lazyDelay)
	}
}

// completion is what became of an attempt.
func (r *run) completion(id string) (Completion, error) {
	a := r.m.attempts[id]
	if a == nil {
		return Completion{}, diag.Errorf(diag.NotFound, "run %s has no attempt %s", r.id, id)
	}
	if !a.committed && r.end.Err != nil {
		return Completion{Outcome: OutcomeFenced, Detail: r.end.Err.Error()}, nil
	}
	return completionOf(a.state, a.err), nil
}

func completionOf(state model.AttemptState, why string) Completion {
	switch state {
	case model.AttemptCompleted:
		return Completion{Outcome: OutcomePublished}
	case model.AttemptFailed, model.AttemptTimedOut, model.AttemptCancelled:
		return Completion{Outcome: OutcomeFailed, Detail: why}
	}
	if why == "" {
		why = "a newer attempt took its place"
	}
	return Completion{Outcome: OutcomeSuperseded, Detail: why}
}

// lastReply is what a poll hears when the engine is done with the run.
func (r *run) lastReply() (JobReply, error) {
	if r.end.Err != nil {
		return JobReply{}, r.end.Err
	}
	return JobReply{Done: true, RunState: r.end.State}, nil
}
