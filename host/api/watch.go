package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const (
	// watchPoll is how often a watcher looks for what others committed; 3 µs a
	// look.
	watchPoll = 100 * time.Millisecond
	// watchBatch is how many events are read at once.
	watchBatch = 500
	// deathPoll is how often a watcher looks whether the owner still lives.
	deathPoll = time.Second
)

// cursorPrefix begins a cursor, so that a later format is told apart.
const cursorPrefix = "e1-"

func cursorAt(seq int64) string { return cursorPrefix + strconv.FormatInt(seq, 36) }

func seqOf(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(cursor, cursorPrefix)
	seq, err := strconv.ParseInt(digits, 36, 64)
	if !ok || err != nil || seq < 0 {
		return 0, diag.Errorf(diag.Invalid, "'%s' is no cursor of a run's events", cursor).
			WithHint("leave it out to begin with the first event")
	}
	return seq, nil
}

// WatchRun streams events from a cursor on, and ends after the run's end. Where
// the run's owner dies it ends with an error that says so.
func (s *Server) WatchRun(ctx context.Context, r *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
	after, err := seqOf(r.GetCursor())
	if err != nil {
		return err
	}
	run, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return err
	}
	w := s.newWaiter()
	defer w.stop()
	var looked time.Time
	for {
		if err := w.arm(ctx); err != nil {
			return err
		}
		// The run is read before its events: when it had ended by then, all its
		// events are there to read.
		if run, err = s.Runs.FindRun(ctx, run.Project, run.ID); err != nil {
			return named(err, "run", r.GetRun(), "it was deleted meanwhile")
		}
		sent, err := s.sendEvents(ctx, run.ID, after, send)
		if err != nil {
			return err
		}
		progress := sent != after
		after = sent
		if r.GetNoFollow() || run.State.Final() && after >= run.Seq {
			return nil
		}
		if !progress && time.Since(looked) > deathPoll {
			if !s.Home.Alive(run.Owner) && !run.State.Final() {
				return interrupted(run)
			}
			looked = time.Now()
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

func interrupted(run model.Run) error {
	return &diag.Error{
		Code: diag.Interrupted, Summary: fmt.Sprintf("run '%s' is interrupted", run.Name),
		Detail: "the host that drove it is gone",
		Hint:   "go on with it: cairn run resume " + run.Name,
	}
}

// sendEvents sends all events after a seq and gives the last one's.
func (s *Server) sendEvents(ctx context.Context, runID string, after int64, send func(*apiv1.WatchRunResponse) error) (int64, error) {
	for {
		events, err := s.Runs.Events(ctx, runID, after, watchBatch)
		if err != nil {
			return after, err
		}
		for _, e := range events {
			if err := send(&apiv1.WatchRunResponse{Event: eventToProto(e), Cursor: cursorAt(e.Seq)}); err != nil {
				return after, fmt.Errorf("send event: %w", err)
			}
			after = e.Seq
		}
		if len(events) < watchBatch {
			return after, nil
		}
	}
}

// waiter waits for a commit: of this process at once, of others by polling.
type waiter struct {
	server  *Server
	ticker  *time.Ticker
	version int64
	changed <-chan struct{}
}

func (s *Server) newWaiter() *waiter {
	return &waiter{server: s, ticker: time.NewTicker(watchPoll)}
}

func (w *waiter) stop() { w.ticker.Stop() }

// arm is called before the state is read that wait waits for a change of.
func (w *waiter) arm(ctx context.Context) (err error) {
	if w.server.Changed != nil {
		w.changed = w.server.Changed()
	}
	w.version, err = w.server.Runs.DataVersion(ctx)
	return err
}

// wait returns when something has changed since arm, and now and then without.
func (w *waiter) wait(ctx context.Context) error {
	until := time.Now().Add(deathPoll)
	for time.Now().Before(until) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.changed:
			return nil
		case <-w.ticker.C:
		}
		v, err := w.server.Runs.DataVersion(ctx)
		if err != nil || v != w.version {
			return err
		}
	}
	return nil
}
