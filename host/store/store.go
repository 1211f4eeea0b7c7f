// Package store is the journal and the registry of a home, in SQLite: runs and
// what happened to them, components, stacks, secrets, plugins, settings. Start
// with Open. Its commands are atomic and durable when they return; what it
// promises to an engine is proved by package storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	lite "modernc.org/sqlite/lib"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Options of Open. The zero value serves a test.
type Options struct {
	// Alive reports whether a host lives, that is, holds its lock. Without it
	// every host counts as dead. It is never called inside a transaction.
	Alive func(hostID string) bool
	// LockSchema takes the home's schema lock for this process alone, and is
	// called only to make or migrate the database; its error, which names the
	// living hosts, refuses that. Without it nothing is locked.
	LockSchema func(ctx context.Context) (unlock func() error, err error)
	// BusyTimeout is how long a command waits for another process's write;
	// 0 is 5 s.
	BusyTimeout time.Duration
}

// Store is an open database. Safe for concurrent use by any number of
// goroutines, and beside any number of other processes.
type Store struct {
	path   string
	opts   Options
	schema schema
	homeID string
	read   *readers
	write  *writer

	watchMu sync.Mutex
	watch   *session
	intents intentCache
}

// Open opens the database at path for reading and writing. It makes it where
// there is none, and migrates one of an older schema, after a backup beside it.
// A database that only a newer cairn may write is refused with ErrNewer.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	return openWith(ctx, path, opts, embedded)
}

func openWith(ctx context.Context, path string, opts Options, sc schema) (*Store, error) {
	s := newStore(path, opts, sc)
	if err := s.createFile(); err != nil {
		return nil, err
	}
	first, err := s.openCurrent(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	s.write = startWriter(s, first)
	if s.read, err = openReaders(dsn(s.path, readOnly, s.opts.BusyTimeout)); err != nil {
		s.write.stop()
		return nil, s.explain(err)
	}
	return s, nil
}

// OpenReadOnly opens the database at path for reading: it takes no lock, writes
// no row and never makes or migrates a database, but answers ErrNotReady.
//
// SQLite reads a database in WAL mode through a -shm file, and makes it where
// it is missing. In a directory where that cannot be, a database without
// unmerged changes (no -wal file, or an empty one) is read as it is now, and
// changes made later are not seen.
func OpenReadOnly(ctx context.Context, path string, opts Options) (*Store, error) {
	s := newStore(path, opts, embedded)
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil, ErrNotReady
	}
	err := s.openForReading(ctx, readOnly)
	if c := code(err); c == lite.SQLITE_CANTOPEN || c == lite.SQLITE_READONLY {
		if wal, statErr := os.Stat(path + "-wal"); statErr != nil || wal.Size() == 0 {
			err = s.openForReading(ctx, immutable)
		}
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

func (s *Store) openForReading(ctx context.Context, mode access) (err error) {
	if s.read, err = openReaders(dsn(s.path, mode, s.opts.BusyTimeout)); err != nil {
		return err
	}
	version, err := userVersion(ctx, s.read)
	if err == nil && version < s.schema.version {
		err = ErrNotReady
	}
	if err == nil {
		err = s.checkVersion(ctx, s.read, version)
	}
	if err == nil {
		s.homeID, err = readHomeID(ctx, s.read)
	}
	if err != nil {
		s.read.close()
	}
	return err
}

func newStore(path string, opts Options, sc schema) *Store {
	if opts.BusyTimeout == 0 {
		opts.BusyTimeout = 5 * time.Second
	}
	if opts.Alive == nil {
		opts.Alive = func(string) bool { return false }
	}
	return &Store{path: path, opts: opts, schema: sc}
}

// createFile makes an empty file that only its owner can read; SQLite gives its
// companions the same mode. A file that exists is not opened here: closing it
// would drop SQLite's locks on systems without OFD locks.
func (s *Store) createFile() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if st, err := os.Stat(s.path); err == nil && st.IsDir() {
			return diag.Errorf(diag.Refused, "%s is a directory, not a database", s.path).
				WithHint("move it away, or choose another home with CAIRN_HOME")
		}
		return nil
	}
	if err != nil {
		return &diag.Error{Code: diag.Refused, Err: err,
			Summary: fmt.Sprintf("cannot make the database %s", s.path), Detail: err.Error(),
			Hint: "check who owns the directory: ls -ld " + filepath.Dir(s.path) + "; or choose another home with CAIRN_HOME"}
	}
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return fmt.Errorf("set the mode of %s: %w", s.path, err)
	}
	return f.Close()
}

// Close waits for the commands under way and closes the database.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil {
		errs = append(errs, s.write.stop())
	}
	s.watchMu.Lock()
	if s.watch != nil {
		errs = append(errs, s.watch.close())
		s.watch = nil
	}
	s.watchMu.Unlock()
	errs = append(errs, s.read.close())
	return errors.Join(errs...)
}

// HomeID is the identity of the home, made with its database.
func (s *Store) HomeID() string { return s.homeID }

// Path is where the database stands.
func (s *Store) Path() string { return s.path }

func readHomeID(ctx context.Context, q querier) (string, error) {
	return scanText(q.row(ctx, `SELECT value FROM meta WHERE key = 'home_id'`))
}

// view runs queries that must see one state.
func (s *Store) view(ctx context.Context, fn func(q querier) error) error {
	tx, err := s.read.db.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(err)
	}
	err = fn(snapshot{tx})
	if rollErr := tx.Rollback(); err == nil && rollErr != nil {
		err = rollErr
	}
	return s.explain(err)
}

// do runs a command that carries no change id.
func (s *Store) do(ctx context.Context, fn func(ctx context.Context, c *session) error) error {
	return s.submit(ctx, &command{fn: fn})
}

// submit has the writer run a command, and waits for its commit.
func (s *Store) submit(ctx context.Context, cmd *command) error {
	if s.write == nil {
		return fmt.Errorf("%s was opened for reading only: %w", s.path, model.ErrConflict)
	}
	return s.write.submit(ctx, cmd)
}
