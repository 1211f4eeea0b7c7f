package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pipe gives both ends of a pipe, which are closed at the end of the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

func TestTeeKeepsWhatTheProgramPrints(t *testing.T) {
	t.Parallel()
	at := place(t)
	outR, outW := pipe(t)
	errR, errW := pipe(t)
	terminal, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	p := startWith(t, at, []*os.File{outR, errR, terminal, terminal}, "--tee")
	print := func(f *os.File, s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	printed := func() string {
		data, err := os.ReadFile(terminal.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	print(outW, "before the run\n")
	within(t, prompt, "the terminal shows it", func() bool { return strings.Contains(printed(), "before") })
	run := create(t, p)
	if state, _ := drive(t, p, run.GetId(), ""); state != "completed" {
		t.Fatalf("the run is %s", state)
	}
	// The program dies with output on its way: all of it arrives.
	big := strings.Repeat("x", 60<<10)
	print(errW, big+"the end\n")
	for _, f := range []*os.File{outW, errW, p.program} {
		_ = f.Close()
	}
	within(t, prompt, "the host ends", p.ended)
	want := "before the run\n" + big + "the end\n"
	if got := printed(); got != want {
		t.Errorf("printed %d bytes, want %d", len(got), len(want))
	}
	log, err := os.ReadFile(at.RunLog(run.GetId()))
	if err != nil || string(log) != want {
		t.Errorf("the run's log has %d bytes, want %d (%v)", len(log), len(want), err)
	}
}
