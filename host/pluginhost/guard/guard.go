// Package guard is the process that cleans up after a host that was killed. A
// host starts one, before its first plugin, and tells it of each process group
// over a pipe. When the pipe ends, however the host ended, the guard kills the
// groups that are left, removes the host's runtime directory and exits. The
// package imports little, so that the program can run Main before anything
// else.
package guard

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Verb is the hidden first argument with which the cairn binary is a guard:
//
//	if len(os.Args) > 1 && os.Args[1] == guard.Verb {
//		os.Exit(guard.Main(os.Args[2:]))
//	}
const Verb = "__guard"

// killFor is how long the guard goes on killing groups that do not vanish. A
// group of zombies stays until somebody reaps them, and is not worth a wait.
const killFor = 100 * time.Millisecond

// Main is the guard: its argument is the runtime directory to remove, its
// standard input the pipe. It gives the exit code.
func Main(args []string) int {
	// The host's end is the only end: not Ctrl-C, a closed terminal or a polite
	// request to a whole process tree.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP)
	if len(args) != 1 || !filepath.IsAbs(args[0]) {
		fmt.Fprintln(os.Stderr, "the guard is started by a host, with its runtime directory")
		return 2
	}
	cleanUp(read(os.Stdin), args[0])
	return 0
}

// read gives the groups that were added and not removed, at the end of r.
func read(r io.Reader) map[int]bool {
	groups := map[int]bool{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		sign, number, _ := strings.Cut(lines.Text(), " ")
		pgid, err := strconv.Atoi(number)
		if err != nil || pgid <= 1 {
			continue
		}
		switch sign {
		case "+":
			groups[pgid] = true
		case "-":
			delete(groups, pgid)
		}
	}
	return groups
}

func cleanUp(groups map[int]bool, dir string) {
	for deadline := time.Now().Add(killFor); len(groups) > 0; time.Sleep(2 * time.Millisecond) {
		for pgid := range groups {
			// No error: the group has members, a zombie among them perhaps.
			if syscall.Kill(-pgid, syscall.SIGKILL) != nil {
				delete(groups, pgid)
			}
		}
		_ = os.RemoveAll(dir)
		if time.Now().After(deadline) {
			break
		}
	}
	_ = os.RemoveAll(dir)
}

// maxStarts bounds how often a guard that was killed is started again.
const maxStarts = 10

// Guard is the host's side of a running guard. Safe for concurrent use.
type Guard struct {
	executable string
	dir        string

	mu     sync.Mutex
	pipe   *os.File
	exited chan struct{}
	groups map[int]bool
	starts int
	closed bool
}

// Start starts a guard: the executable (the cairn binary itself) with Verb. It
// will remove dir, the host's own runtime directory, an absolute path.
func Start(executable, dir string) (*Guard, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("start guard: %q is not an absolute path", dir)
	}
	g := &Guard{executable: executable, dir: filepath.Clean(dir), groups: map[int]bool{}}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.start(); err != nil {
		return nil, err
	}
	return g, nil
}

// start runs a guard process and tells it of the groups that there are. It is
// called with the lock held.
func (g *Guard) start() error {
	if g.starts++; g.starts > maxStarts {
		return fmt.Errorf("start guard: it was killed %d times", maxStarts)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: g.executable, Args: []string{g.executable, Verb, g.dir},
		Env: []string{}, Dir: "/", Stdin: r,
		// A session of its own: the terminal's signals do not reach it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return fmt.Errorf("start guard: %w", err)
	}
	exited := make(chan struct{})
	g.pipe, g.exited = w, exited
	go func() {
		_ = cmd.Wait() // a guard has nothing to say
		close(exited)
		g.replace(exited)
	}()
	for pgid := range g.groups {
		if err := g.write("+", pgid); err != nil {
			return err
		}
	}
	return nil
}

// replace starts another guard after one that ended while its host lives.
func (g *Guard) replace(ended chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.exited != ended {
		return
	}
	g.pipe.Close()
	_ = g.start() // Add says so, when it is needed next
}

// Add tells the guard of a process group. A guard that was killed is started
// again.
func (g *Guard) Add(pgid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("tell guard: it is closed")
	}
	g.groups[pgid] = true
	if g.alive() && g.write("+", pgid) == nil {
		return nil
	}
	g.pipe.Close()
	return g.start()
}

// Remove tells the guard that a process group is gone.
func (g *Guard) Remove(pgid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, pgid)
	if g.closed {
		return nil
	}
	return g.write("-", pgid)
}

func (g *Guard) alive() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *Guard) write(sign string, pgid int) error {
	if _, err := fmt.Fprintf(g.pipe, "%s %d\n", sign, pgid); err != nil {
		return fmt.Errorf("tell guard: %w", err)
	}
	return nil
}

// Close ends the guard, which kills what is left and removes the directory. It
// waits for it, for at most the time that the guard gives itself.
func (g *Guard) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	err := g.pipe.Close()
	g.mu.Unlock()
	select {
	case <-g.exited:
	case <-time.After(killFor + time.Second):
		return fmt.Errorf("close guard: it does not end")
	}
	if err != nil {
		return fmt.Errorf("close guard: %w", err)
	}
	return nil
}
