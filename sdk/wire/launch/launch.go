// Package launch starts one plugin process, connects to it and stops it. It is
// the host side's only user of go-plugin. Whatever the process does (nothing,
// garbage, a flood, a stop signal, children that keep its pipes), every call
// here ends within a bounded time and no input of the process reaches go-plugin
// unchecked. Start with Start.
package launch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// Times that a process is given.
const (
	// DefaultStartTimeout is from exec to the answer of the first call.
	DefaultStartTimeout = 10 * time.Second
	// DefaultGrace is from the request to stop to SIGKILL.
	DefaultGrace = 2 * time.Second
	// killWait is from SIGKILL to giving up on a process that the kernel holds.
	killWait = 2 * time.Second
	// drainWait is how long output is still read after the process has ended.
	drainWait = 200 * time.Millisecond
)

// Groups is told of each process group that a launch makes. Add is called when
// the group exists and before anything is read from it; Remove when its last
// known process was killed, and before its number can be used again.
type Groups interface {
	Add(pgid int) error
	Remove(pgid int) error
}

// Options say what to start.
type Options struct {
	// Name of the plugin, for messages.
	Name string
	// Path of the executable, absolute.
	Path string
	// Verify is called with the opened executable just before exec; its error
	// is the error of Start. Nil verifies nothing.
	Verify func(*os.File) error
	// Env is the plugin's whole environment, but for what the handshake needs.
	Env []string
	// Dir is an existing directory of the plugin's own, short enough for a
	// socket's path: its working directory. The caller removes it.
	Dir string
	// Groups may be nil.
	Groups Groups
	// Logger gets what the plugin logs. Nil discards it.
	Logger *slog.Logger
	// LogLevel that the plugin begins with; empty for its default.
	LogLevel string
	// StartTimeout; 0 for DefaultStartTimeout.
	StartTimeout time.Duration
	// Grace of Stop; 0 for DefaultGrace.
	Grace time.Duration
}

// Process is a running plugin. Safe for concurrent use.
type Process struct {
	name  string
	path  string
	grace time.Duration
	proc  *child
	gp    *goPlugin
	conn  *grpc.ClientConn
	stop  sync.Once
}

// Start starts a plugin and waits until it answers. A plugin that cannot be
// started gives a *diag.Error of code plugin that says why, with the last lines
// that it wrote; the error of Verify, and the end of ctx, are wrapped as they
// are. After an error nothing of the plugin is left.
func Start(ctx context.Context, o Options) (*Process, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if err := checkExecutable(o); err != nil {
		return nil, err
	}
	inner, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	r := newRunner(inner, o)
	gp := newGoPlugin(r)
	conn, err := gp.connect(inner)
	if err == nil {
		if err = ping(inner, conn); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		r.closeHost()
		return nil, startError(ctx, o, r, gp, err)
	}
	return &Process{name: o.Name, path: o.Path, grace: o.Grace, proc: r.process(), gp: gp, conn: conn}, nil
}

func ping(ctx context.Context, conn *grpc.ClientConn) error {
	res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: wire.HealthService})
	if err != nil {
		return fmt.Errorf("first call: %w", wire.FromStatus(err))
	}
	if s := res.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("the plugin's health is %s", s)
	}
	return nil
}

// startError ends what was started and says why it did not become a plugin.
func startError(ctx context.Context, o Options, r *runner, gp *goPlugin, err error) error {
	state := ""
	if c := r.process(); c != nil {
		if !c.waitDone(drainWait) {
			c.kill()
			c.waitDone(killWait)
		} else if !c.wasKilled() {
			state = c.exit()
		}
	}
	select {
	case <-gp.kill():
	case <-time.After(killWait):
	}
	var verify *verifyError
	if errors.As(err, &verify) {
		return verify.err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("start plugin %s: %w", o.Name, context.Cause(ctx))
	}
	e := &diag.Error{
		Code: diag.Plugin, Err: err,
		Summary: fmt.Sprintf("plugin %s does not start", o.Name),
	}
	var bad *handshakeError
	var exec *execError
	switch {
	case errors.As(err, &exec):
		return exec.explain(o)
	case errors.As(err, &bad):
		e.Summary, e.Hint = bad.summary(o), bad.hint(o)
	case state != "":
		e.Summary += ": it " + state + " before it answered"
	case errors.Is(err, context.DeadlineExceeded):
		e.Summary += fmt.Sprintf(": it did not answer its first call within %s", o.StartTimeout)
	default:
		e.Summary += ": " + err.Error()
	}
	if state != "" && bad != nil && bad.exited {
		e.Summary = fmt.Sprintf("plugin %s %s before its handshake", o.Name, state)
	}
	e.Detail = r.detail(o)
	if e.Hint == "" {
		e.Hint = fmt.Sprintf("run 'cairn plugin describe %s', and report it to the plugin's developer", o.Name)
	}
	return e
}

// checkExecutable gives the plain reasons why a path cannot be started.
func checkExecutable(o Options) error {
	info, err := os.Stat(o.Path)
	if err != nil {
		e := &diag.Error{Code: diag.Plugin, Summary: fmt.Sprintf("plugin %s cannot be read", o.Name), Detail: err.Error(), Err: err}
		if errors.Is(err, os.ErrNotExist) {
			e.Summary, e.Detail = fmt.Sprintf("plugin %s is missing", o.Name), "there is no file "+o.Path
		}
		return e.WithHint("install it again, or run 'cairn plugin list' for the plugins that are there")
	}
	switch {
	case !info.Mode().IsRegular():
		return diag.Errorf(diag.Plugin, "plugin %s is not a file: %s", o.Name, o.Path).
			WithHint("a plugin is an executable file called %sNAME", wire.BinaryPrefix)
	case info.Mode()&0o111 == 0:
		return diag.Errorf(diag.Plugin, "plugin %s is not executable: %s", o.Name, o.Path).
			WithHint("run 'chmod +x %s'", o.Path)
	case !filepath.IsAbs(o.Path):
		return diag.Errorf(diag.Internal, "plugin %s has the relative path %s", o.Name, o.Path)
	}
	return nil
}

// Conn is the connection to the plugin.
func (p *Process) Conn() grpc.ClientConnInterface { return p.conn }

// PID of the process, which is its group's number too.
func (p *Process) PID() int { return p.proc.pid }

// Done is closed when the process has ended and its output was read.
func (p *Process) Done() <-chan struct{} { return p.proc.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.proc.done:
		return false
	default:
		return true
	}
}

// LastLines are the last lines that the plugin logged, oldest first.
func (p *Process) LastLines() []string { return p.proc.log.last() }

// Stop asks the plugin to end, and kills its process group after the grace. It
// returns within the grace and 2 s, whatever the plugin does; false means that
// the kernel still holds the process. May be called more than once.
func (p *Process) Stop() bool {
	p.stop.Do(func() {
		p.gp.kill()
		if !p.proc.waitDone(p.grace) {
			p.proc.kill()
		}
	})
	ended := p.proc.waitDone(killWait)
	p.conn.Close()
	return ended
}

// Kill ends the plugin's process group at once, and returns within 2 s.
func (p *Process) Kill() bool {
	p.proc.kill()
	return p.Stop()
}

// Explain turns the error of a call into that of a dead plugin where the plugin
// has died: a *diag.Error with its exit status and its last lines, which wraps
// err. Other errors come back as they are.
func (p *Process) Explain(err error) error {
	if err == nil {
		return nil
	}
	var pe *diag.PluginError
	if !errors.As(err, &pe) {
		return err
	}
	if pe.Reason != diag.ErrUnavailable && pe.Reason != diag.ErrCanceled && pe.Reason != diag.ErrInternal {
		return err
	}
	if pe.Reason == diag.ErrUnavailable {
		// The connection ends a moment before the process is seen to.
		p.proc.waitDone(2 * drainWait)
	}
	if p.Running() {
		return err
	}
	e := &diag.Error{
		Code: diag.Plugin, Err: err,
		Summary: fmt.Sprintf("plugin %s died: it %s", p.name, p.proc.exit()),
		Detail:  linesDetail(p.path, p.LastLines()),
		Hint:    "run the command again: the plugin is started anew",
	}
	return e
}

func linesDetail(path string, lines []string) string {
	if len(lines) == 0 {
		return path + " wrote nothing to its standard error"
	}
	const most = 10
	// A panic's head says more than the end of its trace.
	head := slices.IndexFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ")
	})
	switch {
	case head >= 0:
		lines = lines[head:min(len(lines), head+most)]
	case len(lines) > most:
		lines = lines[len(lines)-most:]
	}
	return "the last lines of " + path + " were:\n  " + strings.Join(lines, "\n  ")
}
