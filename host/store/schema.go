package store

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/oklog/ulid/v2"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// schema is a set of migrations and the version that they end at. The version
// of a database is its user_version. A migration that older binaries must not
// write after it raises meta's oldest_schema to its own version.
type schema struct {
	files   fs.FS
	version int64
}

// embedded is the schema that this binary was built for.
var embedded = schema{files: mustSub(migrationFiles, "migrations"), version: 1}

func mustSub(f fs.FS, dir string) fs.FS {
	sub, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // only for a malformed name, which is a constant
	}
	return sub
}

func userVersion(ctx context.Context, q querier) (int64, error) {
	var v int64
	err := q.row(ctx, `PRAGMA user_version`).Scan(&v)
	return v, err
}

// checkVersion refuses a database that this binary may not use.
func (s *Store) checkVersion(ctx context.Context, q querier, version int64) error {
	if version == s.schema.version {
		return nil
	}
	var text string
	if err := q.row(ctx, `SELECT value FROM meta WHERE key = 'oldest_schema'`).Scan(&text); err != nil {
		return err
	}
	oldest, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("read oldest_schema: %w", err)
	}
	if version > s.schema.version && oldest <= s.schema.version {
		return nil
	}
	return &diag.Error{Code: diag.Refused, Err: ErrNewer,
		Summary: fmt.Sprintf("%s was written by a newer cairn", s.path),
		Detail: fmt.Sprintf("its schema is %d, this binary knows schemas up to %d, and one before %d must not touch it; nothing was changed",
			version, s.schema.version, oldest),
		Hint: "use the newer cairn; or choose another home: export CAIRN_HOME=DIR"}
}

// openCurrent opens the write connection on a database of this schema, which it
// makes or migrates first where that is needed.
func (s *Store) openCurrent(ctx context.Context) (*session, error) {
	c, err := s.openSession(ctx)
	if err != nil {
		return nil, err
	}
	version, err := userVersion(ctx, c)
	if err == nil && version < s.schema.version {
		if err = s.refuseForeign(ctx, c, version); err == nil {
			c.close()
			if err := s.migrate(ctx); err != nil {
				return nil, err
			}
			if c, err = s.openSession(ctx); err != nil {
				return nil, err
			}
			version, err = userVersion(ctx, c)
		}
	}
	if err == nil {
		err = s.checkVersion(ctx, c, version)
	}
	if err == nil {
		s.homeID, err = readHomeID(ctx, c)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (s *Store) openSession(ctx context.Context, more ...string) (*session, error) {
	return openSession(ctx, dsn(s.path, readWrite, s.opts.BusyTimeout, more...))
}

// refuseForeign keeps cairn off a database that some other program made.
func (s *Store) refuseForeign(ctx context.Context, c *session, version int64) error {
	var tables int
	if err := c.row(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	if version == 0 && tables > 0 {
		return diag.Errorf(diag.Refused, "%s is a database of another program", s.path).
			WithHint("choose another home with CAIRN_HOME")
	}
	return nil
}

// migrate brings the database to this schema while no other host lives.
func (s *Store) migrate(ctx context.Context) (err error) {
	if s.opts.LockSchema != nil {
		unlock, err := s.opts.LockSchema(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	c, err := s.openSession(ctx, "_journal_mode=WAL")
	if err != nil {
		return err
	}
	defer c.close()
	version, err := userVersion(ctx, c)
	if err != nil || version >= s.schema.version {
		return err
	}
	if version > 0 {
		if err := s.backup(ctx, c, version); err != nil {
			return err
		}
	}
	if err := fault.Hit("store.migrate.before"); err != nil {
		return err
	}
	// goose wants a *sql.DB; the session's connection would keep it waiting.
	c.conn.Close()
	provider, err := goose.NewProvider("", c.db, s.schema.files, goose.WithStore(versionStore{}), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	for version < s.schema.version {
		_, upErr := provider.UpTo(ctx, s.schema.version)
		before := version
		if version, err = (versionStore{}).GetLatestVersion(ctx, c.db); err != nil {
			return errors.Join(upErr, err)
		}
		// Without a schema lock, somebody else may have done the same meanwhile.
		if version == before {
			return fmt.Errorf("migrate %s from schema %d: %w", s.path, before, cmp.Or(upErr, errors.New("no migration leads on")))
		}
	}
	return fault.Hit("store.migrate.after")
}

// backup copies the database beside itself, whole or not at all.
func (s *Store) backup(ctx context.Context, c *session, version int64) error {
	to := fmt.Sprintf("%s.backup-schema%d-%s", s.path, version, ulid.Make())
	part := to + ".part"
	if _, err := c.exec(ctx, `VACUUM INTO ?`, part); err != nil {
		os.Remove(part)
		return fmt.Errorf("back up before the migration: %w", err)
	}
	if err := fault.Hit("store.migrate.backup"); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return os.Chmod(part, 0o600) },
		func() error { return syncPath(part) },
		func() error { return os.Rename(part, to) },
		func() error { return syncPath(filepath.Dir(to)) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("back up before the migration: %w", err)
		}
	}
	return nil
}

// syncPath makes a file, or the entries of a directory, durable. Never called
// for a file that SQLite has open.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// versionStore has goose keep the version where SQLite has a place for it, in
// the transaction of the migration.
type versionStore struct{}

var _ database.Store = versionStore{}

// Tablename names what stands for goose's table.
func (versionStore) Tablename() string { return "user_version" }

// TableExists is true: each database has a user_version.
func (versionStore) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

// CreateVersionTable has nothing to do.
func (versionStore) CreateVersionTable(context.Context, database.DBTxConn) error { return nil }

// Insert records a migration as the last step of its transaction.
func (versionStore) Insert(ctx context.Context, db database.DBTxConn, req database.InsertRequest) error {
	if err := fault.Hit("store.migrate.step"); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, req.Version))
	return err
}

// Delete is refused: migrations only go forward.
func (versionStore) Delete(context.Context, database.DBTxConn, int64) error {
	return errors.New("migrations only go forward")
}

// GetMigration says whether a version was applied.
func (v versionStore) GetMigration(ctx context.Context, db database.DBTxConn, version int64) (*database.GetMigrationResult, error) {
	latest, err := v.GetLatestVersion(ctx, db)
	if err != nil {
		return nil, err
	}
	if version > latest {
		return nil, database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{IsApplied: true}, nil
}

// GetLatestVersion is the user_version.
func (versionStore) GetLatestVersion(ctx context.Context, db database.DBTxConn) (int64, error) {
	var v int64
	err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&v)
	return v, err
}

// ListMigrations lists all versions up to the user_version, newest first.
func (v versionStore) ListMigrations(ctx context.Context, db database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	latest, err := v.GetLatestVersion(ctx, db)
	if err != nil {
		return nil, err
	}
	var all []*database.ListMigrationsResult
	for n := latest; n >= 0; n-- {
		all = append(all, &database.ListMigrationsResult{Version: n, IsApplied: true})
	}
	return all, nil
}
