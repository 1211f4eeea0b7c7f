package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestSQLiteIsNewEnough(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	v, err := scanText(s.read.row(context.Background(), `SELECT sqlite_version()`))
	if err != nil {
		t.Fatal(err)
	}
	var a, b, c int
	if _, err := fmt.Sscanf(v, "%d.%d.%d", &a, &b, &c); err != nil || a*1e6+b*1e3+c < 3_051_003 {
		t.Errorf("SQLite %s may lose a commit when it resets its log; 3.51.3 is the first that does not", v)
	}
}

func TestSettingsOfTheWriteConnection(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1",
		"journal_size_limit": "67108864", "busy_timeout": "5000", "mmap_size": ""} {
		got, err := scanText(s.write.c.row(ctx, `PRAGMA `+pragma))
		if errors.Is(err, sql.ErrNoRows) {
			got, err = "", nil
		}
		if err != nil || got != want && !(want == "" && got == "0") {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
}

// TestHelperProcess is another process, when a test below starts it.
func TestHelperProcess(t *testing.T) {
	path := os.Getenv("STORE_TEST_LOCK")
	if path == "" {
		return
	}
	ctx := context.Background()
	c, err := openSession(ctx, dsn(path, readWrite, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // until it is killed
		t.Fatal(err)
	}
}

// helper starts a process that holds the write lock until it is killed.
func helper(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), "STORE_TEST_LOCK="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // stays open, so that it waits
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	buf := make([]byte, len("locked"))
	if _, err := out.Read(buf); err != nil || string(buf) != "locked" {
		t.Fatalf("the helper says %q, %v", buf, err)
	}
	return cmd
}

func TestBusyNamesTheHolder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{BusyTimeout: 100 * time.Millisecond})
	if err := s.SetSetting(ctx, "k", "before"); err != nil {
		t.Fatal(err)
	}
	other := helper(t, s.Path())
	err := s.SetSetting(ctx, "k", "v")
	if !errors.Is(err, model.ErrBusy) {
		t.Fatalf("a locked database gives %v", err)
	}
	var d *diag.Error
	if !errors.As(err, &d) || d.Hint == "" {
		t.Fatalf("no way out: %v", err)
	}
	if runtime.GOOS == "linux" && !strings.Contains(d.Summary, fmt.Sprint(other.Process.Pid)) {
		t.Errorf("the holder, %d, is not named: %s", other.Process.Pid, d.Summary)
	}
	// Readers go on, and so does the writer once the holder is gone.
	if v, _, err := s.Setting(ctx, "k"); v != "before" || err != nil {
		t.Errorf("a reader sees %q, %v", v, err)
	}
	other.Process.Kill()
	other.Wait()
	if err := s.SetSetting(ctx, "k", "after"); err != nil {
		t.Errorf("after the holder's death: %v", err)
	}
}

// TestCommitOfUnknownOutcome has commits fail that were done, and ones that
// were not.
func TestCommitOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	run, err := s.CreateRun(ctx, newRun("a"))
	if err != nil {
		t.Fatal(err)
	}
	ch := change(model.SetProvenance{Provenance: model.Provenance{User: "u"}})
	w := s.write
	broken := errors.New("the disk failed")
	for _, done := range []bool{true, false} {
		c := w.c
		if _, err := c.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
			t.Fatal(err)
		}
		cmd := &command{runID: run.ID, changeID: ch.ID, fn: func(ctx context.Context, c *session) error {
			_, err := c.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?)`, run.ID, ch.ID)
			return err
		}}
		m, err := w.fill(ctx, []*command{cmd})
		if err != nil || cmd.err != nil {
			t.Fatal(err, cmd.err)
		}
		if done {
			if _, err := c.exec(ctx, `COMMIT`); err != nil {
				t.Fatal(err)
			}
		}
		err = w.readBack(ctx, m, broken)
		if done && err != nil || !done && !errors.Is(err, broken) {
			t.Errorf("done %v: %v", done, err)
		}
		if w.c == c {
			t.Error("the connection was not opened again")
		}
		ch.ID = "another"
	}
	// The same for a commit without a change id.
	if _, err := w.c.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	m, err := w.markBatch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.readBack(ctx, m, broken); !errors.Is(err, broken) {
		t.Errorf("a batch that was rolled back: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	if err := s.SetSetting(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := scanText(s.write.c.row(ctx, `PRAGMA max_page_count = 1`)); err != nil {
		t.Fatal(err)
	}
	err := s.SetSetting(ctx, "big", strings.Repeat("x", 1<<20))
	if !errors.Is(err, model.ErrBusy) || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a full disk gives %v", err)
	}
	// The limit went with the connection, as room may come back.
	if err := s.SetSetting(ctx, "big", strings.Repeat("x", 1<<20)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if v, _, err := s.Setting(ctx, "k"); v != "v" || err != nil {
		t.Errorf("the setting is %q, %v", v, err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "cairn.db")
	w, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetSetting(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// What SQLite says where it cannot make its -shm file does not depend on who
	// asks, so that root's tests can have it too: a link to nowhere in its place.
	if err := os.Symlink("nowhere/at/all", path+"-shm"); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(ctx, path, Options{})
	if err != nil {
		t.Fatalf("open for reading: %v", err)
	}
	defer r.Close()
	if v, _, err := r.Setting(ctx, "k"); v != "v" || err != nil {
		t.Errorf("a reader sees %q, %v", v, err)
	}
	if _, err := Open(ctx, path, Options{}); err == nil {
		t.Error("it could be opened for writing")
	}
}

func TestSubmitEnds(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.SetSetting(ctx, "k", "v")
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command gives %v", err)
	}
	other, err := Open(context.Background(), filepath.Join(t.TempDir(), "x.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := other.SetSetting(context.Background(), "k", "v"); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store gives %v", err)
	}
}
