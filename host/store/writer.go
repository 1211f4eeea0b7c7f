package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
)

// maxBatch bounds how many commands share one commit.
const maxBatch = 256

// command is a piece of work for the writer.
type command struct {
	// runID and changeID name a row of table change that the command leaves
	// behind, by which its commit can be read back. Empty where it leaves none.
	runID, changeID string
	// fn runs inside the transaction. An error means that nothing of it is kept.
	fn func(ctx context.Context, c *session) error
	// err is what fn answered.
	err  error
	done chan error
}

// writer owns the write connection: one goroutine, one transaction for all that
// waits. Nobody is answered before the commit.
type writer struct {
	store *Store
	c     *session // nil after a failure, until the next batch
	queue chan *command
	quit  chan struct{}
	ended chan error
	// version is the last user_version that was found good.
	version int64
}

func startWriter(s *Store, c *session) *writer {
	w := &writer{store: s, c: c, queue: make(chan *command), quit: make(chan struct{}), ended: make(chan error, 1)}
	go w.loop()
	return w
}

// stop ends the writer after the batch under way. Called once.
func (w *writer) stop() error {
	close(w.quit)
	return <-w.ended
}

// submit waits for the command's commit. If ctx ends while the command is being
// committed, its outcome is unknown to the caller, who may submit it again.
func (w *writer) submit(ctx context.Context, cmd *command) error {
	cmd.done = make(chan error, 1)
	select {
	case w.queue <- cmd:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.quit:
		return ErrClosed
	}
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) loop() {
	for {
		select {
		case <-w.quit:
			var err error
			if w.c != nil {
				err = w.c.close()
			}
			w.ended <- err
			return
		case cmd := <-w.queue:
			w.run(w.gather(cmd))
		}
	}
}

// gather takes all that waits.
func (w *writer) gather(first *command) []*command {
	batch := []*command{first}
	for len(batch) < maxBatch {
		select {
		case cmd := <-w.queue:
			batch = append(batch, cmd)
		default:
			return batch
		}
	}
	return batch
}

// run commits a batch and answers its commands.
func (w *writer) run(batch []*command) {
	err := w.store.explain(w.commit(context.Background(), batch))
	for _, cmd := range batch {
		if cmd.err != nil {
			cmd.done <- w.store.explain(cmd.err)
			continue
		}
		cmd.done <- err
	}
}

// commit runs a batch in one transaction. Its error is for all commands that
// did not fail by themselves.
func (w *writer) commit(ctx context.Context, batch []*command) error {
	if w.c == nil {
		c, err := w.store.openSession(ctx)
		if err != nil {
			return err
		}
		w.c = c
	}
	if _, err := w.c.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		w.drop()
		return err
	}
	mark, err := w.fill(ctx, batch)
	if err != nil || mark == nil {
		if _, rollErr := w.c.exec(ctx, `ROLLBACK`); rollErr != nil || isEnvironment(err) {
			w.drop()
		}
		return err
	}
	if err := fault.Hit("store.commit.before"); err != nil {
		return w.readBack(ctx, mark, err)
	}
	if _, err := w.c.exec(ctx, `COMMIT`); err != nil {
		return w.readBack(ctx, mark, err)
	}
	if err := fault.Hit("store.commit.after"); err != nil {
		return w.readBack(ctx, mark, err)
	}
	return nil
}

// mark is a row by which a commit is found done.
type mark struct{ query, a, b string }

// fill runs the commands of a batch. No mark: none of them succeeded.
func (w *writer) fill(ctx context.Context, batch []*command) (*mark, error) {
	version, err := userVersion(ctx, w.c)
	if err != nil {
		return nil, err
	}
	if version != w.version {
		if err := w.store.checkVersion(ctx, w.c, version); err != nil {
			return nil, err
		}
		w.version = version
	}
	var found *mark
	succeeded := false
	for _, cmd := range batch {
		if err := w.one(ctx, cmd, len(batch) > 1); err != nil {
			return nil, err
		}
		if cmd.err != nil {
			continue
		}
		succeeded = true
		if cmd.changeID != "" {
			found = &mark{`SELECT 1 FROM change WHERE run_id = ? AND id = ?`, cmd.runID, cmd.changeID}
		}
	}
	if !succeeded || found != nil {
		return found, nil
	}
	return w.markBatch(ctx)
}

// one runs a command; where others share the transaction, in a savepoint, so
// that its failure undoes nothing of theirs. Only what spoils all is returned.
func (w *writer) one(ctx context.Context, cmd *command, shared bool) error {
	if shared {
		if _, err := w.c.exec(ctx, `SAVEPOINT command`); err != nil {
			return err
		}
	}
	cmd.err = cmd.fn(ctx, w.c)
	if isEnvironment(cmd.err) {
		err := cmd.err
		cmd.err = nil
		return err
	}
	if !shared {
		return nil
	}
	if cmd.err != nil {
		if _, err := w.c.exec(ctx, `ROLLBACK TO command`); err != nil {
			return err
		}
	}
	_, err := w.c.exec(ctx, `RELEASE command`)
	return err
}

// markBatch writes a row of its own for a commit that has no change id.
func (w *writer) markBatch(ctx context.Context) (*mark, error) {
	id := ulid.Make()
	old := ulid.ULID{}
	if err := old.SetTime(ulid.Timestamp(time.Now().Add(-time.Hour))); err != nil {
		return nil, err
	}
	if _, err := w.c.exec(ctx, `DELETE FROM batch WHERE id < ?`, old.String()); err != nil {
		return nil, err
	}
	if _, err := w.c.exec(ctx, `INSERT INTO batch (id) VALUES (?)`, id.String()); err != nil {
		return nil, err
	}
	return &mark{`SELECT 1 FROM batch WHERE id = ? AND '' = ?`, id.String(), ""}, nil
}

// readBack decides a commit that failed by what the file holds: a commit whose
// fsync failed may stand. What is found is made durable by a checkpoint before
// anybody hears of it, for the log that it stands in may not be.
func (w *writer) readBack(ctx context.Context, m *mark, commitErr error) error {
	w.drop()
	c, err := w.store.openSession(ctx)
	if err != nil {
		return errors.Join(commitErr, err)
	}
	w.c = c
	rows, err := c.query(ctx, m.query, m.a, m.b)
	if err != nil {
		return errors.Join(commitErr, err)
	}
	done := rows.Next()
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return errors.Join(commitErr, err)
	}
	if !done {
		return commitErr
	}
	var busy, log, moved int
	if err := c.row(ctx, `PRAGMA wal_checkpoint(FULL)`).Scan(&busy, &log, &moved); err != nil {
		return errors.Join(commitErr, err)
	}
	if busy != 0 {
		return fmt.Errorf("checkpoint after a failed commit: %w", model.ErrBusy)
	}
	return nil
}

// drop gives the connection up: its transaction ends with it.
func (w *writer) drop() {
	if w.c != nil {
		w.c.close()
		w.c = nil
	}
}
