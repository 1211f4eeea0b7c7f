package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
)

// job is what a worker process does: runs of its own, one after the other, each
// with one publication. It appends a line to Ledger for each thing that was
// acknowledged.
type job struct {
	Path, Host, Ledger string
	Runs               int
}

// TestWorkerProcess is another host, when a test below starts it.
func TestWorkerProcess(t *testing.T) {
	text := os.Getenv("STORE_TEST_JOB")
	if text == "" {
		return
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	if err := j.work(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (j job) work(ctx context.Context) error {
	ledger, err := os.OpenFile(j.Ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer ledger.Close()
	s, err := Open(ctx, j.Path, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for range j.Runs {
		n := newRun("a")
		attempt := ulid.Make().String()
		n.Run.Owner = j.Host
		n.Reserve = []model.Change{change(model.ReserveAttempt{Attempt: model.Attempt{ID: attempt, Step: "a"}})}
		var run model.Run
		if err := insist(func() (err error) { run, err = s.CreateRun(ctx, n); return err }); err != nil {
			return err
		}
		fmt.Fprintf(ledger, "created %s %s\n", run.ID, run.Name)
		id := ulid.Make().String()
		changes := []model.Change{
			change(model.PublishStep{Step: "a", Attempt: attempt, Incarnation: "i", Outputs: []model.PublishedOutput{{ID: id, Output: "o",
				Artifact: "model", Content: model.Content{Digest: "d" + id, Size: 1}}}}),
			change(model.EndRun{State: model.RunCompleted})}
		if err := insist(func() (err error) { _, err = s.Apply(ctx, run.ID, 1, changes); return err }); err != nil {
			return err
		}
		fmt.Fprintf(ledger, "published %s %s\n", run.ID, id)
	}
	return nil
}

// insist makes a call again while the journal is busy, as an engine does.
func insist(call func() error) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := call()
		if !errors.Is(err, model.ErrBusy) || time.Now().After(deadline) {
			return err
		}
	}
}

func (j job) start(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkerProcess$")
	cmd.Env = append(append(os.Environ(), "STORE_TEST_JOB="+string(text)), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// checkLedger checks that all that a ledger says is there, that each run is
// whole, and that versions are counted without gap. It gives the number of
// publications.
func checkLedger(t *testing.T, path, ledger string) int {
	t.Helper()
	ctx := context.Background()
	s, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		switch rec, err := s.LoadRun(ctx, f[1]); {
		case err != nil:
			t.Errorf("acknowledged and lost: %s: %v", line, err)
		case f[0] == "created" && rec.Run.Name != f[2]:
			t.Errorf("acknowledged as %s, and is %s", f[2], rec.Run.Name)
		case f[0] == "published" && (rec.Run.State != model.RunCompleted || rec.Outputs["a"][0].ID != f[2]):
			t.Errorf("acknowledged and not there: %s: %+v", line, rec.Run)
		}
	}
	check, err := scanText(s.read.row(ctx, `PRAGMA integrity_check`))
	if err != nil || check != "ok" {
		t.Errorf("integrity: %s, %v", check, err)
	}
	all, err := collect(ctx, s.read, scanArtifact, artifactSelect+` ORDER BY v.version`)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range all {
		if v.Version != i+1 {
			t.Fatalf("version %d stands at place %d", v.Version, i+1)
		}
		rec, err := s.LoadRun(ctx, v.RunID)
		if err != nil || rec.Run.State != model.RunCompleted || rec.Run.Seq != 4 {
			t.Errorf("half a publication: %+v, %v", rec.Run, err)
		}
	}
	return len(all)
}

func TestManyProcesses(t *testing.T) {
	t.Parallel()
	const processes, runs = 3, 15
	dir := t.TempDir()
	path, ledger := filepath.Join(dir, "cairn.db"), filepath.Join(dir, "ledger")
	var wg sync.WaitGroup
	// They make the database too, all at once.
	for i := range processes {
		cmd := job{Path: path, Host: fmt.Sprintf("host-%d", i), Ledger: ledger, Runs: runs}.start(t)
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("worker: %v", err)
			}
		})
	}
	wg.Wait()
	if n := checkLedger(t, path, ledger); n != processes*runs {
		t.Errorf("%d publications", n)
	}
}

// TestKilledProcesses kills a worker wherever it happens to be, again and again.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, ledger := filepath.Join(dir, "cairn.db"), filepath.Join(dir, "ledger")
	for round := range 5 {
		cmd := job{Path: path, Host: "h", Ledger: ledger, Runs: 1000}.start(t)
		before := lines(ledger)
		deadline := time.Now().Add(20 * time.Second)
		for lines(ledger) < before+3+2*round {
			if time.Now().After(deadline) {
				t.Fatal("the worker does nothing")
			}
			time.Sleep(time.Millisecond)
		}
		cmd.Process.Kill()
		cmd.Wait()
		checkLedger(t, path, ledger)
	}
}

func lines(path string) int {
	data, _ := os.ReadFile(path)
	return strings.Count(string(data), "\n")
}
