package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// channelFD is the number of the inherited channel in the plugin: the first of
// exec.Cmd's ExtraFiles.
const channelFD = 3

// child is a process in a group of its own. Its group is killed when it ends,
// whatever it ended by, before its number can be used again.
type child struct {
	pid    int
	cmd    *exec.Cmd
	groups Groups
	log    *logPump
	stdout *os.File
	stderr *os.File
	done   chan struct{}

	mu     sync.Mutex
	ended  bool // reaped, or about to be: the group's number is not ours any more
	killed bool // by kill, so its end says nothing about the plugin
}

// startChild starts the executable. channel becomes channelFD.
func startChild(o Options, env []string, channel *os.File) (*child, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer errW.Close()
	c := &child{
		groups: o.Groups, stdout: outR, stderr: errR, done: make(chan struct{}),
		log: newLogPump(o.Logger.With("plugin", o.Name)),
		cmd: &exec.Cmd{
			Path: o.Path, Args: []string{o.Path}, Env: env, Dir: o.Dir,
			Stdout: outW, Stderr: errW, ExtraFiles: []*os.File{channel},
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		},
	}
	if err = openVerified(o); err == nil {
		if err = c.cmd.Start(); err != nil {
			err = &execError{err}
		}
	}
	if err != nil {
		outR.Close()
		errR.Close()
		return nil, err
	}
	c.pid = c.cmd.Process.Pid
	if c.groups != nil {
		err = c.groups.Add(c.pid)
	}
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		c.log.run(errR)
	}()
	go c.reap(pumped)
	if err != nil {
		c.kill()
		c.waitDone(killWait)
		return nil, fmt.Errorf("tell the guard of plugin %s: %w", o.Name, err)
	}
	return c, nil
}

// reap waits for the process, kills what is left of its group and closes done.
func (c *child) reap(pumped <-chan struct{}) {
	waitExited(c.pid)
	c.mu.Lock()
	// The process is not reaped yet, so the group's number is still its own.
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	if c.groups != nil {
		_ = c.groups.Remove(c.pid)
	}
	c.ended = true
	c.mu.Unlock()
	_ = c.cmd.Wait() // the state is read from cmd.ProcessState
	select {
	case <-pumped:
	case <-time.After(drainWait):
	}
	c.stderr.Close()
	c.stdout.Close()
	close(c.done)
}

// kill sends SIGKILL to the group. It does not wait.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.killed = true
		_ = syscall.Kill(-c.pid, syscall.SIGKILL)
	}
}

func (c *child) wasKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// waitDone waits for the end of the process for at most d.
func (c *child) waitDone(d time.Duration) bool {
	select {
	case <-c.done:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

// exit says how the process ended, as the end of a sentence. Only after done.
func (c *child) exit() string {
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return "ended"
	case status.Signaled() && status.CoreDump():
		return fmt.Sprintf("was killed by signal %s (core dumped)", signalName(status.Signal()))
	case status.Signaled():
		return "was killed by signal " + signalName(status.Signal())
	}
	return fmt.Sprintf("exited with status %d", status.ExitStatus())
}

// execError is the system's refusal to start the executable.
type execError struct{ err error }

func (e *execError) Error() string { return e.err.Error() }
func (e *execError) Unwrap() error { return e.err }

func (e *execError) explain(o Options) *diag.Error {
	d := &diag.Error{
		Code: diag.Plugin, Err: e.err,
		Summary: fmt.Sprintf("plugin %s cannot be started", o.Name), Detail: e.err.Error(),
	}
	switch {
	case errors.Is(e.err, syscall.ENOEXEC):
		d.Detail = o.Path + " is not an executable of this system"
		d.Hint = "install the build of the plugin that is for this machine"
	case errors.Is(e.err, os.ErrPermission):
		d.Hint = fmt.Sprintf("run 'chmod +x %s', and see that its file system allows programs", o.Path)
	case errors.Is(e.err, os.ErrNotExist):
		// The file was there: its interpreter or loader is not.
		d.Detail = "the interpreter or loader that " + o.Path + " names is missing"
		d.Hint = "install what the plugin needs, or a static build of it"
	default:
		d.Hint = "run 'cairn plugin list' to see the plugin's state"
	}
	return d
}

// drain reads the rest of the standard output, so that the plugin never blocks
// on it.
func (c *child) drain() { _, _ = io.Copy(io.Discard, c.stdout) }
