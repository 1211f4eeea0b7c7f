package engine

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Engine drives the runs that its host owns. Safe for concurrent use. Its errors
// are *diag.Error values, safe to show.
type Engine struct {
	cfg Config

	mu   sync.Mutex
	runs map[string]*run
	// past are the ids of finished runs in runs, oldest first.
	past     []string
	closed   bool
	watching bool
	// starting holds one lock for each run that is being made or resumed.
	starting map[string]*startLock
	// swept are the staging directories that were looked through.
	swept map[string]bool
	wg    sync.WaitGroup
	stop  chan struct{}
}

// New makes an engine that owns nothing yet.
func New(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = mathrand.Float64
	}
	if cfg.MaxLosses == 0 {
		cfg.MaxLosses = 5
	}
	orDefault := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orDefault(&cfg.StopGrace, 10*time.Second)
	orDefault(&cfg.SessionGrace, 3*time.Second)
	orDefault(&cfg.BusyRetry, 2*time.Second)
	orDefault(&cfg.lazyDelay, 200*time.Millisecond)
	orDefault(&cfg.IntentPoll, 200*time.Millisecond)
	if cfg.ReadOnlyFiles == nil {
		protects := os.Geteuid() != 0
		cfg.ReadOnlyFiles = &protects
	}
	return &Engine{cfg: cfg, runs: map[string]*run{}, starting: map[string]*startLock{}, swept: map[string]bool{}, stop: make(chan struct{})}
}

// keptPast is how many finished runs are remembered, so that a program hears how
// its run ended without a look into the journal.
const keptPast = 64

// newID makes a ULID.
func (e *Engine) newID() string {
	return ulid.MustNew(ulid.Timestamp(e.cfg.Now()), rand.Reader).String()
}

// contentKey is where this home stores a content.
func (e *Engine) contentKey(digest string) string {
	return "h/" + e.cfg.HomeID + "/c/" + strings.Replace(digest, ":", "-", 1)
}

func (e *Engine) rules() rules {
	return rules{maxLosses: e.cfg.MaxLosses, grace: e.cfg.StopGrace, random: e.cfg.Random, newID: e.newID}
}

// get gives a run that this engine drives, or did.
func (e *Engine) get(runID string) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runs[runID]
}

// active gives a run that this engine drives now.
func (e *Engine) active(runID string) *run {
	r := e.get(runID)
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return nil
	default:
		return r
	}
}

// start begins to drive a run.
func (e *Engine) start(r *run) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errInterrupted(r.id, "the host ends")
	}
	e.past = slices.DeleteFunc(e.past, func(id string) bool { return id == r.id })
	e.runs[r.id] = r
	e.wg.Go(r.loop)
	if staging := r.staging(); !e.swept[staging] {
		e.swept[staging] = true
		r.goes(func() { e.sweep(r.ctx, staging) })
	}
	if !e.watching {
		e.watching = true
		e.wg.Go(e.watchIntents)
	}
	return nil
}

// finished notes that a run's loop has ended.
func (e *Engine) finished(r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs[r.id] != r {
		return
	}
	e.past = append(e.past, r.id)
	if len(e.past) > keptPast {
		delete(e.runs, e.past[0])
		e.past = e.past[1:]
	}
}

// startLock is a lock, and how many hold or want it.
type startLock struct {
	sync.Mutex
	users int
}

// lock keeps others from making or resuming the same run.
func (e *Engine) lock(runID string) (unlock func()) {
	e.mu.Lock()
	l := e.starting[runID]
	if l == nil {
		l = &startLock{}
		e.starting[runID] = l
	}
	l.users++
	e.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		e.mu.Lock()
		defer e.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(e.starting, runID)
		}
	}
}

// Active are the ids of the runs that this engine drives, in no order.
func (e *Engine) Active() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []string
	for id, r := range e.runs {
		select {
		case <-r.done:
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

// Paused gives the error for which the journal cannot be written now, while the
// run waits for it; nil otherwise.
func (e *Engine) Paused(runID string) error {
	if r := e.get(runID); r != nil {
		if err := r.paused.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// Done is closed when this engine is done with a run: it is final, fenced or
// interrupted. Closed already for a run that it does not know.
func (e *Engine) Done(runID string) <-chan struct{} {
	if r := e.get(runID); r != nil {
		return r.done
	}
	done := make(chan struct{})
	close(done)
	return done
}

// Wait waits for Done and says how it ended.
func (e *Engine) Wait(ctx context.Context, runID string) (End, error) {
	r := e.get(runID)
	if r == nil {
		return End{}, errNotDriven(runID)
	}
	select {
	case <-r.done:
		return r.end, nil
	case <-ctx.Done():
		return End{}, ctx.Err()
	}
}

// Interrupt says that the program of a run is dead: results that stand are
// adopted, other live attempts are lost, and the engine lets go of the run,
// which can be resumed. It returns when that is done. A run that this engine
// does not drive is left alone.
func (e *Engine) Interrupt(ctx context.Context, runID string) error {
	r := e.active(runID)
	if r == nil {
		return nil
	}
	err := r.do(ctx, func() { r.leave(errInterrupted(r.id, "its program is gone"), e.cfg.Now()) })
	if err != nil && err != errOver {
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close lets go of every run, which can then be resumed by any host, and waits
// until the stacks are closed. Attempts that a program still runs stay as they
// are: their results are adopted by a resume. Results that are being looked at
// are published first, as long as ctx allows. Nothing can be started afterwards.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.stop)
	}
	runs := slices.Collect(maps.Values(e.runs))
	e.mu.Unlock()
	for _, r := range runs {
		e.wg.Go(func() { r.post(func() { r.close(e.cfg.Now()) }) })
	}
	done := make(chan struct{})
	go func() { e.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, r := range runs {
		r.cancel()
	}
	<-done
	return ctx.Err()
}

// watchIntents acts on what other hosts ask of this host's runs, while it lives.
func (e *Engine) watchIntents() {
	ticker := time.NewTicker(e.cfg.IntentPoll)
	defer ticker.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-ticker.C:
		case <-e.stop:
			return
		}
		if len(e.Active()) == 0 {
			continue
		}
		asked, err := e.cfg.Journal.Intents(ctx, e.cfg.HostID)
		if err != nil {
			e.cfg.Logger.Debug("read intents", "error", err)
			continue
		}
		for _, id := range asked {
			if r := e.active(id); r != nil {
				r.post(func() { r.m.cancel(e.cfg.Now()) })
			}
		}
	}
}
