//go:build faults

package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// faultPoints are the points that a worker passes.
func faultPoints(t *testing.T, dir string) []string {
	t.Helper()
	record := filepath.Join(dir, "points")
	cmd := job{Path: filepath.Join(dir, "first.db"), Host: "h", Ledger: filepath.Join(dir, "first"), Runs: 1}.start(t, "CAIRN_FAULT_RECORD="+record)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		points = append(points, f[0]+":"+f[1])
	}
	return points
}

// TestFaultPoints kills a worker at each point, and has each point fail, once
// each: nothing acknowledged is lost, and the next worker goes on.
func TestFaultPoints(t *testing.T) {
	t.Parallel()
	points := faultPoints(t, t.TempDir())
	for _, want := range []string{"store.migrate.before:1", "store.migrate.step:1", "store.apply.begin:1", "store.publish.step:1",
		"store.apply.written:1", "store.commit.before:2", "store.commit.after:2"} {
		if !slices.Contains(points, want) {
			t.Errorf("point %s is not passed; those passed are %v", want, points)
		}
	}
	for _, point := range points {
		for _, action := range []string{"kill", "error"} {
			t.Run(point+":"+action, func(t *testing.T) {
				dir := t.TempDir()
				path, ledger := filepath.Join(dir, "cairn.db"), filepath.Join(dir, "ledger")
				j := job{Path: path, Host: "h", Ledger: ledger, Runs: 1}
				err := j.start(t, "CAIRN_FAULT="+point+":"+action).Wait()
				var exit *exec.ExitError
				switch {
				case action == "kill" && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL):
					t.Fatalf("the worker was not killed: %v", err)
				case action == "error" && err != nil && !strings.HasPrefix(point, "store.migrate"):
					t.Errorf("the worker did not get over an error: %v", err)
				}
				if err := j.start(t).Wait(); err != nil {
					t.Fatalf("the next worker: %v", err)
				}
				if n := checkLedger(t, path, ledger); n < 1 {
					t.Errorf("%d publications", n)
				}
			})
		}
	}
}
