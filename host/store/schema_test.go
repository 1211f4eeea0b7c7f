package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// future is the embedded schema with further migrations.
func future(t testing.TB, more ...string) schema {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(embedded.files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(embedded.files, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	sc := schema{files: files, version: embedded.version}
	for _, text := range more {
		sc.version++
		files["0000"+string(rune('0'+sc.version))+"_future.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return sc
}

func TestSchemaVersionIsThatOfTheMigrations(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(embedded.files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(names)) != embedded.version {
		t.Errorf("%d migrations, and the version is %d", len(names), embedded.version)
	}
}

func backups(t testing.TB, path string) []string {
	t.Helper()
	found, err := filepath.Glob(path + ".backup-*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestMigrateKeepsABackup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "cairn.db")
	old, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.SetSetting(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	id := old.HomeID()
	old.Close()
	if found := backups(t, path); len(found) != 0 {
		t.Errorf("a new database was backed up: %v", found)
	}

	locked := 0
	opts := Options{LockSchema: func(context.Context) (func() error, error) {
		locked++
		return func() error { locked--; return nil }, nil
	}}
	next := future(t, "ALTER TABLE setting ADD COLUMN note TEXT NOT NULL DEFAULT 'new';\n", "CREATE TABLE more (id TEXT);\n")
	s, err := openWith(ctx, path, opts, next)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if locked != 0 {
		t.Errorf("the schema lock is held %d times", locked)
	}
	if v, err := userVersion(ctx, s.read); err != nil || v != next.version {
		t.Errorf("version is %d, %v", v, err)
	}
	if note, err := scanText(s.read.row(ctx, `SELECT note FROM setting WHERE key = 'k'`)); err != nil || note != "new" {
		t.Errorf("note is %q, %v", note, err)
	}
	if s.HomeID() != id {
		t.Error("the home's identity changed")
	}
	found := backups(t, path)
	if len(found) != 1 {
		t.Fatalf("backups are %v", found)
	}
	if st, err := os.Stat(found[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", st, err)
	}
	b, err := Open(ctx, found[0], Options{})
	if err != nil {
		t.Fatalf("open the backup: %v", err)
	}
	defer b.Close()
	if v, ok, err := b.Setting(ctx, "k"); v != "v" || !ok || err != nil {
		t.Errorf("the backup holds %q, %v, %v", v, ok, err)
	}
}

func TestMigrateIsRefusedWithoutTheLock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "cairn.db")
	old, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	refusal := errors.New("host h lives")
	_, err = openWith(ctx, path, Options{LockSchema: func(context.Context) (func() error, error) { return nil, refusal }},
		future(t, "CREATE TABLE more (id TEXT);\n"))
	if !errors.Is(err, refusal) {
		t.Errorf("migrating gives %v", err)
	}
	if v, err := userVersion(ctx, old.read); err != nil || v != embedded.version {
		t.Errorf("version is %d, %v", v, err)
	}
}

func TestMigrateThatFailsLeavesTheOldSchema(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "cairn.db")
	old, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	_, err = openWith(ctx, path, Options{}, future(t, "CREATE TABLE more (id TEXT);\nINSERT INTO nowhere VALUES (1);\n"))
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a broken migration gives %v", err)
	}
	s, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatalf("the old binary cannot go on: %v", err)
	}
	defer s.Close()
	var n int
	if err := s.read.row(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'more'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("half of the migration stands: %d, %v", n, err)
	}
}

func TestNewerIsRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "cairn.db")
	older, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer older.Close()
	// A newer one that older binaries may still write.
	friendly, err := openWith(ctx, path, Options{}, future(t, "CREATE TABLE more (id TEXT);\n"))
	if err != nil {
		t.Fatal(err)
	}
	friendly.Close()
	if err := older.SetSetting(ctx, "k", "1"); err != nil {
		t.Errorf("an older host cannot write where it may: %v", err)
	}
	again, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatalf("an older binary cannot open what it may: %v", err)
	}
	again.Close()
	// And one that they must not.
	strict, err := openWith(ctx, path, Options{}, future(t, "CREATE TABLE more (id TEXT);\n",
		"UPDATE meta SET value = '3' WHERE key = 'oldest_schema';\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	if err := older.SetSetting(ctx, "k", "2"); !errors.Is(err, ErrNewer) {
		t.Errorf("a host that was open before writes on: %v", err)
	}
	if v, _, err := strict.Setting(ctx, "k"); v != "1" || err != nil {
		t.Errorf("the refused write left %q, %v", v, err)
	}
	for name, open := range map[string]func() (*Store, error){
		"Open":         func() (*Store, error) { return Open(ctx, path, Options{}) },
		"OpenReadOnly": func() (*Store, error) { return OpenReadOnly(ctx, path, Options{}) },
	} {
		_, err := open()
		var d *diag.Error
		if !errors.Is(err, ErrNewer) || !errors.As(err, &d) || d.Hint == "" || d.Code != diag.Refused {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openSession(ctx, dsn(foreign, readWrite, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.exec(ctx, `CREATE TABLE theirs (id TEXT)`); err != nil {
		t.Fatal(err)
	}
	c.close()
	for path, want := range map[string]string{garbage: "damaged", foreign: "another program", dir: "directory"} {
		_, err := Open(ctx, path, Options{})
		var d *diag.Error
		if !errors.As(err, &d) || !strings.Contains(d.Summary, want) || d.Hint == "" {
			t.Errorf("%s gives %v, want it to say %q", path, err, want)
		}
	}
	if data, err := os.ReadFile(garbage); err != nil || !strings.HasPrefix(string(data), "this is no database") {
		t.Errorf("the file was touched: %v", err)
	}
}

func TestOpenReadOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "what? 100%.db")
	if _, err := OpenReadOnly(ctx, path, Options{}); !errors.Is(err, ErrNotReady) {
		t.Errorf("no database gives %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made a database: %v", err)
	}
	w, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r, err := OpenReadOnly(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := w.SetSetting(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := r.Setting(ctx, "k"); v != "v" || !ok || err != nil {
		t.Errorf("a reader sees %q, %v, %v", v, ok, err)
	}
	if err := r.SetSetting(ctx, "k", "w"); err == nil {
		t.Error("a reader can write")
	}
	if r.HomeID() != w.HomeID() {
		t.Errorf("ids are %s and %s", r.HomeID(), w.HomeID())
	}
	newer := schema{files: embedded.files, version: embedded.version + 1}
	s := newStore(path, Options{}, newer)
	if err := s.openForReading(ctx, readOnly); !errors.Is(err, ErrNotReady) {
		t.Errorf("an older schema gives %v", err)
	}
}
