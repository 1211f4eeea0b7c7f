package store

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// configure sets what modernc.org/sqlite has for the process as a whole, before
// its first lock. OFD locks survive the close of another descriptor of the
// file; where the system has none, SQLite's usual locks serve. The answer is
// not looked at: only "not on this system" and "too late" are possible, and in
// both cases the locks that there are hold between processes.
var configure = sync.OnceFunc(func() {
	sqlite.StrictPragmas(true)
	_, _ = sqlite.OFDLocking(true)
})

// access is how a database file is opened.
type access string

const (
	readWrite access = "mode=rw"
	readOnly  access = "mode=ro"
	// immutable reads a file that nobody can be writing, in a directory where
	// SQLite cannot make its -shm file.
	immutable access = "mode=ro&immutable=1"
)

// dsn is the connection string for a path.
func dsn(path string, mode access, busy time.Duration, more ...string) string {
	u := url.URL{Scheme: "file", Path: path}
	params := []string{
		string(mode),
		fmt.Sprintf("_busy_timeout=%d", busy.Milliseconds()),
		"_foreign_keys=1", "_dqs=0", "_defensive=1", "_error_rc=1",
	}
	if mode == readWrite {
		params = append(params, "_synchronous=FULL", "_txlock=immediate", "_pragma=journal_size_limit(67108864)")
	}
	return u.String() + "?" + strings.Join(append(params, more...), "&")
}

// querier is what a query runs on: the write connection, a read transaction or
// the read pool.
type querier interface {
	query(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	row(ctx context.Context, text string, args ...any) scanner
}

// scanner is a row to read.
type scanner interface{ Scan(dest ...any) error }

// failedRow is the row of a query that could not be asked.
type failedRow struct{ err error }

// Scan gives the error.
func (r failedRow) Scan(...any) error { return r.err }

// session is the one write connection with its prepared statements. Used by
// one goroutine at a time.
type session struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func openSession(ctx context.Context, dsn string) (*session, error) {
	configure()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	return &session{db: db, conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *session) close() error {
	for _, st := range c.stmts {
		st.Close()
	}
	c.conn.Close()
	return c.db.Close()
}

func (c *session) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if st := c.stmts[text]; st != nil {
		return st, nil
	}
	st, err := c.conn.PrepareContext(ctx, strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	c.stmts[text] = st
	return st, nil
}

// exec runs a statement and gives the number of rows that it changed.
func (c *session) exec(ctx context.Context, text string, args ...any) (int64, error) {
	st, err := c.prepare(ctx, text)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (c *session) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	st, err := c.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (c *session) row(ctx context.Context, text string, args ...any) scanner {
	st, err := c.prepare(ctx, text)
	if err != nil {
		return failedRow{err}
	}
	return st.QueryRowContext(ctx, args...)
}

// readers is a small pool of read-only connections. Safe for concurrent use.
type readers struct {
	db *sql.DB
	mu sync.Mutex
	// stmts by text; database/sql prepares them again on each connection.
	stmts map[string]*sql.Stmt
}

func openReaders(dsn string) (*readers, error) {
	configure()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return &readers{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

func (r *readers) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.stmts {
		st.Close()
	}
	return r.db.Close()
}

func (r *readers) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.stmts[text]; st != nil {
		return st, nil
	}
	st, err := r.db.PrepareContext(ctx, strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	r.stmts[text] = st
	return st, nil
}

func (r *readers) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	st, err := r.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (r *readers) row(ctx context.Context, text string, args ...any) scanner {
	st, err := r.prepare(ctx, text)
	if err != nil {
		return failedRow{err}
	}
	return st.QueryRowContext(ctx, args...)
}

// snapshot is a read transaction: its queries see one state. Its statements are
// made for it alone: one that a pool prepares could wait for a connection that
// only the end of this transaction sets free.
type snapshot struct{ tx *sql.Tx }

func (s snapshot) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return s.tx.QueryContext(ctx, text, args...)
}

func (s snapshot) row(ctx context.Context, text string, args ...any) scanner {
	return s.tx.QueryRowContext(ctx, text, args...)
}

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// scanText reads a row of one text.
func scanText(r scanner) (string, error) {
	var s string
	err := r.Scan(&s)
	return s, err
}
