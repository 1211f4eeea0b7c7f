package pluginhost

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/pluginhost/guard"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire/launch"
)

// Variables that steer where plugins come from and how they are trusted.
const (
	// EnvPath lists directories of plugins, separated like PATH.
	EnvPath = "CAIRN_PLUGIN_PATH"
	// EnvDev set to 1 skips the approval of plugins that do not ship with cairn.
	EnvDev = "CAIRN_PLUGIN_DEV"
)

// maxRuntimeDir keeps the path of a socket below it within what a system takes
// (107 bytes on Linux, 103 on macOS).
const maxRuntimeDir = 60

// Catalogue remembers plugins between hosts.
type Catalogue interface {
	Plugins(ctx context.Context) ([]model.Plugin, error)
	PutPlugin(ctx context.Context, p model.Plugin) error
	DeletePlugin(ctx context.Context, name, path string) error
}

// Options of a Manager.
type Options struct {
	Catalogue Catalogue
	// Executable is the cairn binary: plugins beside it are trusted as they are,
	// and the guard is started from it.
	Executable string
	// Path are further directories of plugins (CAIRN_PLUGIN_PATH).
	Path []string
	// HomePlugins is HOME/plugins, with a directory for each plugin; may be
	// missing.
	HomePlugins string
	// RuntimeDir is this host's own directory, absolute and at most 60 bytes
	// long. It is made on first use; Close, or the guard, removes it.
	RuntimeDir string
	// HomeID identifies the home to flavors that keep a prefix for each.
	HomeID string
	// ExchangeRoots are directories, beside those that a store's facts name, in
	// which host and plugins exchange files.
	ExchangeRoots []string
	// HostFeatures are the optional behaviour that the host understands.
	HostFeatures []string
	// Environ is the environment that plugins are given a part of; nil for the
	// process's own.
	Environ []string
	// Dev skips approval (CAIRN_PLUGIN_DEV=1).
	Dev bool
	// LogLevel of plugins; empty for their default.
	LogLevel string
	// Logger gets what plugins log, and what the manager does. Nil discards.
	Logger *slog.Logger
	// StartTimeout of a plugin; 0 for launch.DefaultStartTimeout.
	StartTimeout time.Duration
}

// Manager owns the plugin processes of a host. Safe for concurrent use.
type Manager struct {
	o   Options
	log *slog.Logger

	mu        sync.Mutex
	closed    bool
	guard     *guardStart
	processes map[string]*processEntry // by path and digest
	described map[string]model.Plugin  // by path, of this host alone
	failed    map[string]failure       // by path: not tried again by this host
	turns     map[string]chan struct{} // by path: one at a time describes
	launches  int                      // names directories
}

// New makes a manager. It starts nothing.
func New(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if !filepath.IsAbs(o.RuntimeDir) || !filepath.IsAbs(o.Executable) {
		return nil, diag.Errorf(diag.Internal, "the runtime directory %q and the executable %q have to be absolute paths", o.RuntimeDir, o.Executable)
	}
	o.RuntimeDir = filepath.Clean(o.RuntimeDir)
	if len(o.RuntimeDir) > maxRuntimeDir {
		return nil, diag.Errorf(diag.Invalid, "the runtime directory is too long for a socket: %s", o.RuntimeDir).
			WithDetail("it has %d bytes, and at most %d are possible", len(o.RuntimeDir), maxRuntimeDir).
			WithHint("set XDG_RUNTIME_DIR to a shorter path, such as /run/user/%d", os.Getuid())
	}
	return &Manager{
		o: o, log: o.Logger,
		processes: map[string]*processEntry{}, described: map[string]model.Plugin{},
		failed: map[string]failure{}, turns: map[string]chan struct{}{},
	}, nil
}

// SplitPath splits CAIRN_PLUGIN_PATH; entries that are empty or relative are
// left out.
func SplitPath(value string) []string {
	var dirs []string
	for _, d := range filepath.SplitList(value) {
		if filepath.IsAbs(d) {
			dirs = append(dirs, filepath.Clean(d))
		}
	}
	return dirs
}

// guardStart is a guard that is being started, or is there.
type guardStart struct {
	ready chan struct{}
	guard *guard.Guard
	err   error
}

// Warm makes the runtime directory and starts the guard in the background, so
// that the first launch need not wait for it. Optional.
func (m *Manager) Warm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.startGuard()
	}
}

// Prepare makes the runtime directory, with a guard that removes it, and waits
// until both are there.
func (m *Manager) Prepare(ctx context.Context) error {
	_, err := m.waitGuard(ctx)
	return err
}

// startGuard is called with the lock held.
func (m *Manager) startGuard() *guardStart {
	if m.guard != nil {
		return m.guard
	}
	g := &guardStart{ready: make(chan struct{})}
	m.guard = g
	go func() {
		defer close(g.ready)
		// The guard comes first: a host that is killed in between leaves nothing.
		if g.guard, g.err = guard.Start(m.o.Executable, m.o.RuntimeDir); g.err == nil {
			g.err = os.MkdirAll(m.o.RuntimeDir, 0o700)
		}
	}()
	return g
}

// waitGuard gives the guard, started.
func (m *Manager) waitGuard(ctx context.Context) (*guard.Guard, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errClosed()
	}
	g := m.startGuard()
	m.mu.Unlock()
	select {
	case <-g.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if g.err != nil {
		return nil, &diag.Error{
			Code: diag.Internal, Summary: "the guard process cannot be started", Detail: g.err.Error(), Err: g.err,
			Hint: fmt.Sprintf("see that %s can be written and %s can be executed", m.o.RuntimeDir, m.o.Executable),
		}
	}
	return g.guard, nil
}

func errClosed() error {
	return diag.Errorf(diag.Cancelled, "the host is shutting down")
}

// Close stops every plugin, in parallel and within a bounded time, ends the
// guard and removes the runtime directory.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	entries := m.processes
	m.processes = map[string]*processEntry{}
	g := m.guard
	m.mu.Unlock()

	var wg sync.WaitGroup
	for _, e := range entries {
		wg.Go(func() { e.stop() })
	}
	wg.Wait()
	if g == nil {
		return nil
	}
	<-g.ready
	err := os.RemoveAll(m.o.RuntimeDir)
	if g.guard != nil {
		if gerr := g.guard.Close(); err == nil {
			err = gerr
		}
	}
	if err != nil {
		return fmt.Errorf("close plugins: %w", err)
	}
	return nil
}

// processEntry is a process that is being launched, or runs, or has ended.
type processEntry struct {
	ready   chan struct{}
	cancel  context.CancelFunc
	process *launch.Process
	err     error
}

// stop ends the launch or the process.
func (e *processEntry) stop() {
	e.cancel()
	<-e.ready
	if e.process != nil {
		e.process.Stop()
	}
}

// process gives the running process of a plugin, and launches it where there is
// none. Callers that come at once share one launch.
func (m *Manager) process(ctx context.Context, p model.Plugin) (*launch.Process, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, errClosed()
	}
	e := m.processes[processKey(p)]
	if e == nil || e.dead() {
		// A launch belongs to the manager, not to the caller that came first.
		lctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		e = &processEntry{ready: make(chan struct{}), cancel: cancel}
		m.processes[processKey(p)] = e
		m.startGuard()
		m.launches++
		n := m.launches
		go func() {
			defer close(e.ready)
			e.process, e.err = m.launch(lctx, p, n)
		}()
	}
	m.mu.Unlock()
	select {
	case <-e.ready:
		return e.process, e.err
	case <-ctx.Done():
		return nil, fmt.Errorf("start plugin %s: %w", p.Name, context.Cause(ctx))
	}
}

// dead reports whether the entry is of no more use.
func (e *processEntry) dead() bool {
	select {
	case <-e.ready:
		return e.err != nil || !e.process.Running()
	default:
		return false
	}
}

// processKey tells binaries apart: one that was replaced gets a process of its
// own, and what runs goes on.
func processKey(p model.Plugin) string { return p.Digest + " " + p.Path }

// drop ends the process of a plugin, if there is one.
func (m *Manager) drop(p model.Plugin) {
	m.mu.Lock()
	e := m.processes[processKey(p)]
	delete(m.processes, processKey(p))
	m.mu.Unlock()
	if e != nil {
		e.stop()
	}
}

func (m *Manager) launch(ctx context.Context, p model.Plugin, n int) (*launch.Process, error) {
	g, err := m.waitGuard(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(m.o.RuntimeDir, fmt.Sprintf("p%d", n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of plugin %s: %w", p.Name, err)
	}
	proc, err := launch.Start(ctx, launch.Options{
		Name: p.Name, Path: p.Path, Dir: dir, Groups: g,
		Env: pluginEnv(m.o.Environ, p.Flavors), Logger: m.log, LogLevel: m.o.LogLevel,
		StartTimeout: m.o.StartTimeout,
		Verify:       func(f *os.File) error { return sameFile(f, p) },
	})
	if err != nil {
		_ = os.RemoveAll(dir) // what is left goes with the runtime directory
		return nil, err
	}
	m.log.Debug("plugin started", "plugin", p.Name, "pid", proc.PID())
	go func() {
		<-proc.Done()
		_ = os.RemoveAll(dir)
	}()
	return proc, nil
}
