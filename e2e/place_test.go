package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bins is where TestMain put the binaries: plain ones, and "faulty/" ones with
// the fault points compiled in.
var bins string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cairn-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bins = dir
		if err := build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func build(dir string) error {
	for _, tags := range []string{"", "faults"} {
		to := dir
		if tags != "" {
			to = filepath.Join(dir, "faulty")
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		for name, pkg := range map[string]string{
			"cairn": "../cmd/cairn", "cairn-plugin-local": "../plugins/local", "program": "./program",
		} {
			cmd := exec.Command("go", "build", "-tags", tags, "-o", filepath.Join(to, name), pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
			}
		}
	}
	return nil
}

// place is a home, a runtime directory and a ledger of its own.
type place struct {
	t      *testing.T
	dir    string
	bins   string
	Ledger string
	env    []string
}

func newPlace(t *testing.T, binaries string) *place {
	t.Helper()
	// Short, for the sake of socket paths.
	dir, err := os.MkdirTemp("", "ce-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, dir: dir, bins: binaries, Ledger: filepath.Join(dir, "ledger")}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CAIRN_") && !strings.HasPrefix(kv, "XDG_") {
			p.env = append(p.env, kv)
		}
	}
	p.env = append(p.env,
		"CAIRN_HOME="+p.home(), "XDG_RUNTIME_DIR="+filepath.Join(dir, "run"),
		"CAIRN_BIN="+filepath.Join(binaries, "cairn"), "LEDGER="+p.Ledger, "PATH="+binaries+":"+os.Getenv("PATH"))
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// home is the place's CAIRN_HOME.
func (p *place) home() string { return filepath.Join(p.dir, "home") }

// result of a finished command.
type result struct {
	Code   int
	Stdout string
	Stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", r.Code, r.Stdout, r.Stderr)
}

// command prepares a binary of the place; env entries win over the place's.
func (p *place) command(name string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bins, name), args...)
	cmd.Env = append(append([]string{}, p.env...), env...)
	cmd.Dir = p.dir
	return cmd
}

// run runs a binary to its end, at most two minutes.
func (p *place) run(name string, env []string, args ...string) result {
	p.t.Helper()
	cmd := p.command(name, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		p.t.Fatalf("%s %s: still running after two minutes\n%s%s", name, strings.Join(args, " "), &stdout, &stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		p.t.Fatalf("%s: %v", name, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// cairn runs the command and expects it to end well.
func (p *place) cairn(args ...string) string {
	p.t.Helper()
	r := p.run("cairn", nil, args...)
	if r.Code != 0 {
		p.t.Fatalf("cairn %s: %v", strings.Join(args, " "), r)
	}
	return r.Stdout
}

// cairnJSON decodes what a read verb prints with --output json.
func cairnJSON[T any](p *place, args ...string) T {
	p.t.Helper()
	var v T
	out := p.cairn(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		p.t.Fatalf("cairn %s: %v in %s", strings.Join(args, " "), err, out)
	}
	return v
}

// ledger gives the lines that steps wrote, such as "start a" and "end a".
func (p *place) ledger() []string {
	p.t.Helper()
	data, err := os.ReadFile(p.Ledger)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(data)), " ", ":"))
}

func (p *place) count(line string) int {
	n := 0
	for _, l := range p.ledger() {
		if l == line {
			n++
		}
	}
	return n
}

// eventually waits until ok holds, at most the given time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: not %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processes gives the living processes that have the place's directory in their
// environment or arguments (a guard has no environment), or work in it; a zombie
// counts as gone.
func (p *place) processes() map[int]string {
	p.t.Helper()
	found := map[int]string{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(env, []byte(p.dir)) {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
			cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
			if !bytes.Contains(cmdline, []byte(p.dir)) && (!bytes.Contains(cmdline, []byte(p.bins)) || !strings.HasPrefix(cwd, p.dir)) {
				continue
			}
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && !strings.HasPrefix(rest, "Z") {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
			found[pid] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return found
}

// hostPID waits for the embedded host of a running program.
func (p *place) hostPID() int {
	p.t.Helper()
	var pid int
	eventually(p.t, soon, "an embedded host", func() bool {
		for id, cmd := range p.processes() {
			if strings.Contains(cmd, "cairn host") {
				pid = id
				return true
			}
		}
		return false
	})
	return pid
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
