package home

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/sdk/diag"
)

func ensured(t testing.TB) Home {
	t.Helper()
	h := fresh(t)
	if err := h.Ensure(); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHelperProcess is another host, when a test below starts it: it locks, and
// lives until it is killed.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv("HOME_TEST_DIR")
	if dir == "" {
		return
	}
	h := Home{Dir: dir}
	if _, err := h.Register(HostInfo{ID: "other", PID: os.Getpid(), Kind: "server", Version: "9"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.LockSchema(context.Background()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Fatal(err)
	}
}

func otherHost(t *testing.T, h Home) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	cmd.Env = append(os.Environ(), "HOME_TEST_DIR="+h.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // stays open, so that it lives
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("the other host says %q, %v", line, err)
	}
	return cmd
}

func TestHostLocks(t *testing.T) {
	t.Parallel()
	h := ensured(t)
	if h.Alive("nobody") || h.Alive("") || h.Alive("../hosts/x") {
		t.Error("one who never was is alive")
	}
	l, err := h.Register(HostInfo{ID: "me", PID: 1, Kind: "embedded", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Alive("me") {
		t.Error("a registered host is dead")
	}
	if _, err := h.Register(HostInfo{ID: "../me"}); err == nil {
		t.Error("a path was taken for a host id")
	}
	cmd := otherHost(t, h)
	living, err := h.Living()
	want := []HostInfo{{"me", 1, "embedded", "1"}, {"other", cmd.Process.Pid, "server", "9"}}
	if diff := cmp.Diff(want, living); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if dead, err := h.Sweep(); len(dead) != 0 || err != nil {
		t.Errorf("swept %v, %v", dead, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if h.Alive("other") {
		t.Error("a killed host is alive")
	}
	if _, err := os.Stat(h.lockPath("other")); err != nil {
		t.Errorf("looking at it removed its lock: %v", err)
	}
	if dead, err := h.Sweep(); !cmp.Equal(dead, []string{"other"}) || err != nil {
		t.Errorf("swept %v, %v", dead, err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if h.Alive("me") {
		t.Error("a host that left is alive")
	}
	if left, err := filepath.Glob(filepath.Join(h.Hosts(), "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSweepTakesOnlyOldHalfLocks(t *testing.T) {
	t.Parallel()
	h := ensured(t)
	young, old := h.lockPath("young")+".new", h.lockPath("old")+".new"
	for _, p := range []string{young, old} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if dead, err := h.Sweep(); len(dead) != 0 || err != nil {
		t.Errorf("swept %v, %v", dead, err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the lock of a host that is registering is gone")
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the lock of a host that died registering is still there")
	}
}

func TestSchemaLock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := ensured(t)
	mine, err := h.LockSchema(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Release()
	cmd := otherHost(t, h)
	_, err = mine.Exclusive(ctx)
	var d *diag.Error
	if !errors.As(err, &d) || d.Code != diag.Refused || !strings.Contains(d.Hint, fmt.Sprintf("kill %d", cmd.Process.Pid)) {
		t.Errorf("beside another host it gives %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	shared, err := mine.Exclusive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if l, err := h.LockSchema(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("during a migration it gives %v, %v", l, err)
	}
	if err := shared(); err != nil {
		t.Fatal(err)
	}
	other, err := h.LockSchema(ctx)
	if err != nil {
		t.Fatalf("after the migration: %v", err)
	}
	// Both hold it shared, and both want it alone: one after the other has it.
	errs := make(chan error, 2)
	for _, l := range []*SchemaLock{mine, other} {
		go func() {
			shared, err := l.Exclusive(ctx)
			if err == nil {
				err = shared()
			}
			// Gone, so that the other's turn comes.
			errs <- errors.Join(err, l.Release())
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
