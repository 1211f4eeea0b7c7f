package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// printingPipeline is the program of the tests that need a process of its own.
func printingPipeline() *Pipeline {
	step := Fn1("print", func(ctx context.Context, how string) (int, error) {
		fmt.Println("out of the step")
		fmt.Fprintln(os.Stderr, "error of the step")
		switch how {
		case "exit":
			os.Exit(9)
		case "panic":
			go func() { panic("stray") }()
			<-ctx.Done()
		}
		return 1, nil
	})
	after := Fn1("after", func(_ context.Context, n int) (int, error) { fmt.Println("out of the next"); return n, nil })
	return New("printing", func(b *B, p struct{ How string }) { after.Do(b, step.Do(b, Lit(p.How))) })
}

// process runs the program as a process.
func process(t *testing.T, s scenario, args ...string) (dir, stdout, stderr string, code int) {
	t.Helper()
	r := newRun(t, s, nil)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append([]string{"program"}, args...)...)
	cmd.Env = r.environ
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return r.dir, out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// What the process prints is shown and kept, also when it crashes.
func TestOutputGoesThroughTheHost(t *testing.T) {
	t.Parallel()
	cases := []struct {
		how     string
		die     int
		code    int
		out     []string
		errs    []string
		log     []string
		results int
	}{
		{"", 0, 0, []string{"out of the step", "out of the next", "Run printing-1 completed"}, []string{"error of the step"}, []string{"out of the step", "error of the step", "out of the next"}, 2},
		{"exit", 0, 9, []string{"out of the step"}, []string{"error of the step"}, []string{"out of the step", "error of the step"}, 0},
		{"panic", 0, 2, []string{"out of the step"}, []string{"panic: stray"}, []string{"out of the step", "panic: stray"}, 0},
		{"", 1, 6, []string{"out of the step"}, []string{"error of the step", "lost the connection to the cairn host"}, nil, 1},
	}
	for _, c := range cases {
		dir, out, errs, code := process(t, scenario{DieAfter: c.die}, "--how="+c.how)
		if code != c.code {
			t.Errorf("%q: exit code %d, not %d\n%s%s", c.how, code, c.code, out, errs)
		}
		contains(t, "standard output", out, c.out...)
		contains(t, "standard error", errs, c.errs...)
		log, err := os.ReadFile(filepath.Join(dir, "run.log"))
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "log", string(log), c.log...)
		if strings.Contains(string(log), "Run printing-1") {
			t.Errorf("the log has what cairn says itself:\n%s", log)
		}
		// The host outlives a program that crashes.
		data, err := os.ReadFile(filepath.Join(dir, "seen.json"))
		for deadline := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
			data, err = os.ReadFile(filepath.Join(dir, "seen.json"))
		}
		if err != nil {
			t.Fatalf("%q, host dies after %d: %v", c.how, c.die, err)
		}
		var s seen
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		results := 0
		for _, r := range s.Results {
			if r != nil {
				results++
			}
		}
		if results != c.results {
			t.Errorf("%q: %d results", c.how, results)
		}
	}
}
