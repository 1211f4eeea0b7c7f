package store

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lite "modernc.org/sqlite/lib"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Errors of a database that cannot be used as it is.
var (
	// ErrNotReady is OpenReadOnly's answer where there is no database yet, or
	// one of an older schema: Open makes or migrates it.
	ErrNotReady = errors.New("database is missing or of an older schema")
	// ErrNewer: the database belongs to a newer cairn. Nothing was changed.
	ErrNewer = errors.New("database is of a newer schema")
	// ErrCorrupt: SQLite cannot make sense of the file.
	ErrCorrupt = errors.New("database is corrupt")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// code is the primary SQLite result code of err, 0 where it has none.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isConstraint reports a violated UNIQUE, CHECK or foreign key.
func isConstraint(err error) bool { return code(err) == lite.SQLITE_CONSTRAINT }

// isEnvironment reports an error of the file rather than of a command: it
// spoils the whole transaction, and the connection with it.
func isEnvironment(err error) bool {
	switch code(err) {
	case lite.SQLITE_BUSY, lite.SQLITE_LOCKED, lite.SQLITE_FULL, lite.SQLITE_IOERR, lite.SQLITE_READONLY,
		lite.SQLITE_CANTOPEN, lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB, lite.SQLITE_PROTOCOL, lite.SQLITE_NOMEM:
		return true
	}
	return errors.Is(err, fault.ErrInjected)
}

// explain turns an error of SQLite into one for people. Other errors pass.
func (s *Store) explain(err error) error {
	var d *diag.Error
	if err == nil || errors.As(err, &d) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, fault.ErrInjected) {
		return fmt.Errorf("%w: %w", model.ErrBusy, err)
	}
	switch code(err) {
	case lite.SQLITE_BUSY, lite.SQLITE_LOCKED, lite.SQLITE_PROTOCOL:
		return s.busyError(err)
	case lite.SQLITE_FULL:
		return &diag.Error{Code: diag.Internal, Err: model.ErrBusy,
			Summary: fmt.Sprintf("no room left to write %s", s.path),
			Detail:  err.Error(),
			Hint:    "free some space there; a run in progress goes on by itself"}
	case lite.SQLITE_IOERR:
		return &diag.Error{Code: diag.Internal, Err: model.ErrBusy,
			Summary: fmt.Sprintf("the disk failed to read or write %s", s.path),
			Detail:  err.Error(),
			Hint:    "see the system's log (dmesg) for the disk; a run in progress goes on by itself when the disk does"}
	case lite.SQLITE_READONLY, lite.SQLITE_CANTOPEN, lite.SQLITE_PERM:
		return &diag.Error{Code: diag.Refused, Err: err,
			Summary: fmt.Sprintf("cannot open %s for writing", s.path),
			Detail:  err.Error(),
			Hint:    fmt.Sprintf("check who owns it: ls -l %s*; or choose another home with CAIRN_HOME", s.path)}
	case lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB:
		return &diag.Error{Code: diag.Internal, Err: fmt.Errorf("%w: %w", ErrCorrupt, err),
			Summary: fmt.Sprintf("the database %s is damaged", s.path),
			Detail:  err.Error(),
			Hint: fmt.Sprintf("put it aside with: mv %[1]s %[1]s.damaged; then copy the newest %[1]s.backup-* to %[1]s, or go on without: "+
				"artifacts stay in the stores", s.path)}
	}
	return err
}

// busyError names who holds the write lock, where the system tells.
func (s *Store) busyError(err error) error {
	e := &diag.Error{Code: diag.Refused, Err: model.ErrBusy,
		Summary: fmt.Sprintf("%s is locked by another process for more than %v", s.path, s.opts.BusyTimeout),
		Detail:  err.Error(),
		Hint:    "a stopped or hanging cairn process holds it; end it, or let it go on: see 'cairn status'"}
	if pid, name := lockHolder(s.path); pid != 0 {
		e.Summary = fmt.Sprintf("%s is locked by process %d (%s) for more than %v", s.path, pid, name, s.opts.BusyTimeout)
		e.Hint = fmt.Sprintf("if it is stopped, let it go on with: kill -CONT %d; or end it with: kill -9 %d", pid, pid)
	}
	return e
}

// notFound says what kind of object of which name there is not.
func notFound(kind, name string) error {
	return fmt.Errorf("%s %q: %w", kind, name, model.ErrNotFound)
}
