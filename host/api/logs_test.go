package api

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// oneRun is a journal with one run whose record a test changes.
type oneRun struct {
	Runs
	mu  sync.Mutex
	rec model.RunRecord
}

func (o *oneRun) FindRun(context.Context, string, string) (model.Run, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rec.Run, nil
}

func (o *oneRun) LoadRun(context.Context, string) (model.RunRecord, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rec, nil
}

func (o *oneRun) DataVersion(context.Context) (int64, error) { return 1, nil }

func (o *oneRun) set(rec model.RunRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rec = rec
}

// logHome keeps logs in a directory; every host of it lives.
type logHome struct {
	Home
	dir string
}

func (h logHome) AttemptLog(_, attempt string) string { return filepath.Join(h.dir, attempt) }
func (h logHome) RunLog(string) string                { return filepath.Join(h.dir, "run") }
func (logHome) Alive(string) bool                     { return true }

// record is a run with one step, at its last attempt.
func record(state model.RunState, step model.StepState, attempts ...model.AttemptState) model.RunRecord {
	rec := model.RunRecord{
		Run:   model.Run{ID: "r", Name: "p-1", State: state},
		Steps: []model.StepRun{{Name: "train", State: step}}, Attempts: map[string][]model.Attempt{},
	}
	for i, s := range attempts {
		id := "a" + string(rune('1'+i))
		rec.Attempts["train"] = append(rec.Attempts["train"], model.Attempt{ID: id, Number: i + 1, State: s})
	}
	return rec
}

func TestFollowerMovesOnToTheNextAttempt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("a1", "first\n")
	runs := &oneRun{rec: record(model.RunRunning, model.StepRunning, model.AttemptRunning)}
	s := NewServer(Parts{Runs: runs, Home: logHome{dir: dir}})
	var got strings.Builder
	var attempts []uint32
	err := s.ReadLog(t.Context(), &apiv1.ReadLogRequest{Run: "p-1", Step: "train", Offset: 2, Follow: true}, func(m *apiv1.ReadLogResponse) error {
		got.Write(m.GetData())
		attempts = append(attempts, m.GetAttempt())
		switch m.GetAttempt() {
		case 1:
			write("a2", "second\n")
			runs.set(record(model.RunRunning, model.StepRunning, model.AttemptFailed, model.AttemptRunning))
		case 2:
			runs.set(record(model.RunCompleted, model.StepCompleted, model.AttemptFailed, model.AttemptCompleted))
		}
		return nil
	})
	if err != nil || got.String() != "rst\nsecond\n" || len(attempts) != 2 || attempts[1] != 2 {
		t.Errorf("read %q of attempts %v, %v", got.String(), attempts, err)
	}
}

func TestReadLogOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	runs := &oneRun{rec: record(model.RunCompleted, model.StepCompleted, model.AttemptCompleted)}
	s := NewServer(Parts{Runs: runs, Home: logHome{dir: t.TempDir()}})
	read := func(step string, attempt uint32) error {
		return s.ReadLog(t.Context(), &apiv1.ReadLogRequest{Run: "p-1", Step: step, Attempt: attempt, Follow: true}, func(*apiv1.ReadLogResponse) error {
			t.Error("something was read")
			return nil
		})
	}
	if err := read("train", 0); err != nil {
		t.Errorf("a log without a file: %v", err)
	}
	if err := read("trian", 0); diag.CodeOf(err) != diag.NotFound || !strings.Contains(err.Error(), "did you mean 'train'?") {
		t.Errorf("got %v", err)
	}
	if err := read("train", 3); diag.CodeOf(err) != diag.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	for _, seq := range []int64{0, 1, 1 << 40} {
		if got, err := seqOf(cursorAt(seq)); err != nil || got != seq {
			t.Errorf("cursor of %d gives %d, %v", seq, got, err)
		}
	}
	for _, bad := range []string{"7", "e1-", "e1--1", "e2-3"} {
		if _, err := seqOf(bad); diag.CodeOf(err) != diag.Invalid {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}
