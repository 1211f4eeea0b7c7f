package e2e

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// started is a program that runs.
type started struct {
	*exec.Cmd
	mu     sync.Mutex
	out    bytes.Buffer
	exited chan struct{}
}

func (s *started) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *started) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// start starts a binary in a process group of its own.
func (p *place) start(name string, args ...string) *started {
	p.t.Helper()
	s := &started{Cmd: p.command(name, nil, args...), exited: make(chan struct{})}
	s.Stdout, s.Stderr = s, s
	s.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.WaitDelay = 5 * time.Second
	if err := s.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		s.Wait()
		close(s.exited)
	}()
	p.t.Cleanup(func() { s.Process.Kill() })
	return s
}

// exit waits for the program's end and gives its exit code.
func (s *started) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-s.exited:
		return s.ProcessState.ExitCode()
	case <-time.After(2 * soon):
		t.Fatalf("the program is still running:\n%s", s.output())
		return 0
	}
}

// inStepB starts the program, which waits in step b.
func (p *place) inStepB() *started {
	p.t.Helper()
	s := p.start("program", "--b", "wait")
	eventually(p.t, soon, "in step b", func() bool { return p.count("start:b") == 1 })
	return s
}

// release lets step b go on, now and in any later attempt.
func (p *place) release() {
	p.t.Helper()
	if err := os.WriteFile(p.Ledger+".go", nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) state() string {
	p.t.Helper()
	runs := cairnJSON[[]runView](p, "run", "list")
	if len(runs) != 1 {
		p.t.Fatalf("runs are %+v", runs)
	}
	return runs[0].State
}

func (p *place) resume(args ...string) {
	p.t.Helper()
	if r := p.run("cairn", nil, append([]string{"run", "resume", "latest"}, args...)...); r.Code != 0 {
		p.t.Fatalf("resume: %v", r)
	}
}

func TestKilledAndResumed(t *testing.T) {
	for name, strike := range map[string]func(p *place, s *started){
		"the program": func(p *place, s *started) { kill(p.t, s.Process.Pid) },
		"the host":    func(p *place, s *started) { kill(p.t, p.hostPID()) },
		"both": func(p *place, s *started) {
			host := p.hostPID()
			kill(p.t, s.Process.Pid)
			kill(p.t, host)
		},
		"everything": func(p *place, s *started) {
			for pid := range p.processes() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, bins)
			s := p.inStepB()
			strike(p, s)
			if code := s.exit(t); code == 0 {
				t.Errorf("the program ended well:\n%s", s.output())
			}
			p.quiet()
			// The first thread of a dying process is gone before its locks are.
			eventually(t, soon, "interrupted", func() bool { return p.state() == "interrupted" })
			p.release()
			p.resume()
			if p.count("start:a") != 1 || p.count("start:b") != 2 || p.count("start:c") != 1 {
				t.Errorf("ledger: %v", p.ledger())
			}
			p.checkFinished(1, s.output())
		})
	}
}

func TestInterruptCancelsAndCleansUp(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	syscall.Kill(-s.Process.Pid, syscall.SIGINT)
	if code := s.exit(t); code != 130 {
		t.Errorf("exit code %d, want 130:\n%s", code, s.output())
	}
	if got := p.state(); got != "cancelled" {
		t.Errorf("the run is %s", got)
	}
	if p.count("cancelled:b") != 1 {
		t.Errorf("step b was not told: %v", p.ledger())
	}
	p.checkClean()
	p.release()
	p.resume()
	p.checkFinished(1, s.output())
}

func TestCancelledFromElsewhere(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	p.cairn("run", "cancel", "latest", "--yes")
	if code := s.exit(t); code != 130 {
		t.Errorf("exit code %d, want 130:\n%s", code, s.output())
	}
	if r := p.run("cairn", nil, "run", "wait", "latest"); r.Code != 130 {
		t.Errorf("wait: %v", r)
	}
	p.checkClean()
}

func TestTakenOverFromAStoppedHost(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	host := p.hostPID()
	syscall.Kill(host, syscall.SIGSTOP)
	if r := p.run("cairn", nil, "run", "resume", "latest"); r.Code != 4 && r.Code != 6 || !strings.Contains(r.Stderr, "take-over") {
		t.Errorf("resume of a run whose host lives: %v", r)
	}
	p.release()
	p.resume("--take-over")
	syscall.Kill(host, syscall.SIGCONT)
	if code := s.exit(t); code != 6 {
		t.Errorf("the fenced program's exit code is %d, want 6:\n%s", code, s.output())
	}
	p.quiet()
	if got := p.state(); got != "completed" {
		t.Errorf("the run is %s", got)
	}
	if p.count("start:a") != 1 || p.count("start:c") != 1 {
		t.Errorf("ledger: %v", p.ledger())
	}
}

func TestStepsThatGoWrong(t *testing.T) {
	for _, c := range []struct {
		b, code, says string
		args          []string
		starts        int
	}{
		{b: "fail", code: "5", says: "b is told to fail", starts: 1},
		{b: "fail", code: "5", says: "b is told to fail", args: []string{"--retries", "2"}, starts: 3},
		{b: "permanent", code: "5", says: "for good", args: []string{"--retries", "2"}, starts: 1},
		{b: "panic", code: "5", says: "b is told to panic", starts: 1},
		{b: "undeclared", code: "5", says: "declare", starts: 1},
		{b: "chan", code: "5", says: "cannot be stored", starts: 1},
		{b: "timeout", code: "5", says: "timed out", starts: 1},
	} {
		t.Run(c.b+strings.Join(c.args, ""), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, bins)
			r := p.run("program", nil, append([]string{"--b", c.b}, c.args...)...)
			if fmt.Sprint(r.Code) != c.code || !strings.Contains(r.Stdout+r.Stderr, c.says) {
				t.Errorf("want exit %s and %q: %v", c.code, c.says, r)
			}
			if strings.Contains(r.Stderr, "goroutine ") {
				t.Errorf("a stack trace is shown: %v", r)
			}
			if got := p.count("start:b"); got != c.starts {
				t.Errorf("step b ran %d times, want %d", got, c.starts)
			}
			if got := p.state(); got != "failed" {
				t.Errorf("the run is %s", got)
			}
			if describe := p.cairn("run", "describe", "latest"); !strings.Contains(describe, c.says) {
				t.Errorf("run describe does not say why:\n%s", describe)
			}
			p.checkClean()
		})
	}
}

// A step that ends its program takes it along; the host says what was lost, and
// the run can be resumed.
func TestStepThatEndsItsProgram(t *testing.T) {
	for _, b := range []string{"exit", "goroutine"} {
		t.Run(b, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, bins)
			r := p.run("program", nil, "--b", b)
			if r.Code == 0 {
				t.Errorf("the program ended well: %v", r)
			}
			if all := r.Stdout + r.Stderr; !strings.Contains(all, "cairn run resume") {
				t.Errorf("nothing says how to go on: %v", r)
			}
			p.quiet()
			if got := p.state(); got != "interrupted" {
				t.Errorf("the run is %s", got)
			}
			if log := p.cairn("run", "logs", "latest"); b == "goroutine" && !strings.Contains(log, "a stray goroutine of b panics") {
				t.Errorf("the run's log lacks the panic:\n%s", log)
			}
		})
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	follower := p.start("cairn", "run", "logs", "latest", "b", "--follow")
	eventually(t, soon, "followed", func() bool { return strings.Contains(follower.output(), "b works") })
	p.release()
	if code := s.exit(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, s.output())
	}
	if code := follower.exit(t); code != 0 {
		t.Errorf("logs --follow ended with %d", code)
	}
	for _, of := range [][]string{{}, {"b"}} {
		if log := p.cairn(append([]string{"run", "logs", "latest"}, of...)...); !strings.Contains(log, "b prints to standard output") {
			t.Errorf("the log of %v lacks what b printed:\n%s", of, log)
		}
	}
	for _, step := range []string{"a", "c"} {
		if log := p.cairn("run", "logs", "latest", step); log != "" {
			t.Errorf("the log of step %s is not its own:\n%s", step, log)
		}
	}
}

func TestCorruptArtifactIsFound(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	if r := p.run("program", nil); r.Code != 0 {
		t.Fatal(r)
	}
	p.cairn("artifact", "verify")
	stored, err := filepath.Glob(filepath.Join(p.dir, "home", "artifacts", "h", "*", "c", "*"))
	if err != nil || len(stored) == 0 {
		t.Fatalf("stored: %v, %v", stored, err)
	}
	for _, f := range stored {
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("7"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := p.run("cairn", nil, "artifact", "verify"); r.Code != 7 && r.Code != 8 || !strings.Contains(r.Stdout+r.Stderr, "corrupt") {
		t.Errorf("verify: %v", r)
	}
	if r := p.run("cairn", nil, "artifact", "get", "c.output:latest", "--to", filepath.Join(p.dir, "got")); r.Code != 7 && r.Code != 8 {
		t.Errorf("get: %v", r)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "got")); err == nil {
		t.Error("a corrupt artifact was written")
	}
}

// TestPauseIsSaid: while the journal cannot be written the run waits, the
// program says so and why, and nothing fails.
func TestPauseIsSaid(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	db, err := sql.Open("sqlite", filepath.Join(p.dir, "home", "cairn.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hold, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	p.release()
	eventually(t, 20*time.Second, "the pause is said", func() bool {
		return strings.Contains(s.output(), "! the run pauses: ") && strings.Contains(s.output(), "is locked")
	})
	if _, err := hold.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if code := s.exit(t); code != 0 {
		t.Fatalf("the run ends with %d:\n%s", code, s.output())
	}
}
