package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/host/model"
)

func scanEvent(r scanner) (model.Event, error) {
	var e model.Event
	var data *string
	err := r.Scan(&e.RunID, &e.Seq, timeInto{&e.At}, &e.Kind, &e.Step, &e.Attempt, &e.Message, &data)
	if data != nil {
		e.Data = json.RawMessage(*data)
	}
	return e, err
}

// maxPage bounds the rows of one answer, and defaultPage is what 0 asks for.
const (
	maxPage     = 1000
	defaultPage = 50
)

func pageSize(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// Events gives the events of a run after a seq, in order; at most limit, which
// is 1000 where it is 0 or more than that.
func (s *Store) Events(ctx context.Context, runID string, afterSeq int64, limit int) ([]model.Event, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	all, err := collect(ctx, s.read, scanEvent, `SELECT run_id, seq, at, kind, step, attempt, message, data FROM event
		WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?`, runID, afterSeq, limit)
	return all, s.explain(err)
}

// AskCancel leaves word for the owner of a run that somebody wants it
// cancelled. Asking again does nothing. ErrConflict for a run that has ended.
func (s *Store) AskCancel(ctx context.Context, runID, byHost, changeID string) error {
	return s.submit(ctx, &command{runID: runID, changeID: changeID, fn: func(ctx context.Context, tx *session) error {
		run, err := runByID(ctx, tx, runID)
		if err != nil {
			return err
		}
		known, err := isKnown(ctx, tx, runID, changeID)
		if known || err != nil {
			return err
		}
		if run.State != model.RunRunning {
			return fmt.Errorf("run %s is %s: %w", run.Name, run.State, model.ErrConflict)
		}
		if _, err := tx.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?)`, runID, changeID); err != nil {
			return err
		}
		if run.CancelRequested {
			return nil
		}
		at := changeTime(changeID)
		if _, err := tx.exec(ctx, `INSERT INTO intent (run_id, kind, host, at) VALUES (?, 'cancel', ?, ?)`, runID, byHost, micros(at)); err != nil {
			return err
		}
		a := &applier{tx: tx, run: &run}
		if err := a.event(ctx, event{at: at, kind: model.EventCancelAsked, message: "cancellation asked for",
			data: map[string]any{"by": byHost}}); err != nil {
			return err
		}
		return a.writeSeq(ctx)
	}})
}

// intentCache holds the last answer of Intents and the data_version it is of.
type intentCache struct {
	host    string
	version int64
	runs    []string
	at      time.Time
}

// Intents gives the runs of a host that somebody asked to cancel. While the
// database has not changed it costs one look at its change counter.
func (s *Store) Intents(ctx context.Context, hostID string) ([]string, error) {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	version, err := s.dataVersion(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	if c := s.intents; !c.at.IsZero() && c.host == hostID && c.version == version {
		return c.runs, nil
	}
	runs, err := collect(ctx, s.watch, scanText, `SELECT i.run_id FROM intent i JOIN run r ON r.id = i.run_id
		WHERE r.owner = ? AND i.kind = 'cancel' ORDER BY i.run_id`, hostID)
	if err != nil {
		return nil, s.explain(err)
	}
	s.intents = intentCache{host: hostID, version: version, runs: runs, at: time.Now()}
	return runs, nil
}

// DataVersion gives a number that is another one after any commit to the
// database, by whichever process. It means nothing across stores.
func (s *Store) DataVersion(ctx context.Context) (int64, error) {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	v, err := s.dataVersion(ctx)
	return v, s.explain(err)
}

// dataVersion asks a connection of its own: the counter is one of a connection,
// and leaves out the connection's own commits.
func (s *Store) dataVersion(ctx context.Context) (int64, error) {
	if s.watch == nil {
		c, err := openSession(ctx, dsn(s.path, readOnly, s.opts.BusyTimeout))
		if err != nil {
			return 0, err
		}
		s.watch = c
	}
	var v int64
	err := s.watch.row(ctx, `PRAGMA data_version`).Scan(&v)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.watch.close())
		s.watch = nil
	}
	return v, err
}
