// Package app puts a host together out of its parts, and owns the order in
// which they start and stop. Start with Open, for a host inside a command, and
// RunEmbedded, for the host process beside a pipeline program.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/home"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/pluginhost"
	"github.com/cairn-stack/cairn/host/registry"
	"github.com/cairn-stack/cairn/host/secrets"
	"github.com/cairn-stack/cairn/host/store"
)

// Version of cairn; set by the linker.
var Version = "dev"

// APIMajor is the major of the host API that this cairn serves.
const APIMajor = 1

// Options of Open. The zero value is the home and the environment of this
// process.
type Options struct {
	// Home is the zero value for the one that home.Resolve finds.
	Home home.Home
	// Executable is the cairn binary: plugins beside it are trusted as it is,
	// and the guard is started from it. Empty for the running one.
	Executable string
	// Kind of the host, as it is listed: "embedded" where it is empty.
	Kind string
	// Logger gets what the host logs. Nil is HOME/logs/host.log, opened when
	// there is something to log.
	Logger *slog.Logger
}

// Host is a host inside this process. It opens what a call needs when it needs
// it: one that only reads opens the database read-only, takes no lock and
// starts no process. Safe for concurrent use.
type Host struct {
	home       home.Home
	executable string
	kind       string
	id         string
	log        *slog.Logger
	closeLog   func()
	changed    *broadcast

	mu       sync.Mutex
	closed   bool
	reading  *opened
	writing  *opened
	schema   *home.SchemaLock
	manager  *pluginhost.Manager
	identity *home.Lock
	row      func() error // waits until this host's row is written
	socket   string
	engine   *engine.Engine
	stacks   *stacks
	runHooks []func(runID string)
	// tee copies the output of the program beside this host; nil for none.
	tee *tee
}

// opened is an open database, and the API over it.
type opened struct {
	store  *store.Store
	server *api.Server
}

// Open makes a host. It touches nothing but the environment; the context is not
// kept.
func Open(_ context.Context, o Options) (*Host, error) {
	h := &Host{home: o.Home, executable: o.Executable, kind: o.Kind, id: ulid.Make().String(), log: o.Logger, changed: newBroadcast()}
	var err error
	if h.home == (home.Home{}) {
		if h.home, err = home.Resolve(); err != nil {
			return nil, err
		}
	}
	if h.executable == "" {
		if h.executable, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the cairn executable: %w", err)
		}
	}
	if h.executable, err = filepath.EvalSymlinks(h.executable); err != nil {
		return nil, fmt.Errorf("find the cairn executable: %w", err)
	}
	if h.kind == "" {
		h.kind = "embedded"
	}
	if h.log == nil {
		h.log, h.closeLog = hostLog(h.home.HostLog(), h.id)
	}
	return h, nil
}

// reader gives the API for calls that write nothing to the database. A home
// without a database, or with an older one, is opened for writing.
func (h *Host) reader(ctx context.Context) (api.Service, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, err := h.readable(ctx)
	if err != nil {
		return nil, err
	}
	return o.server, nil
}

// readable is called with the lock held.
func (h *Host) readable(ctx context.Context) (*opened, error) {
	if h.writing != nil {
		return h.writing, nil
	}
	if h.closed {
		return nil, errClosed()
	}
	if h.reading == nil {
		if err := h.home.Check(); err != nil {
			return nil, err
		}
		s, err := store.OpenReadOnly(ctx, h.home.DB(), store.Options{Alive: h.home.Alive})
		if errors.Is(err, store.ErrNotReady) {
			return h.writable(ctx)
		}
		if err != nil {
			return nil, err
		}
		h.reading = &opened{store: s, server: h.serve(s)}
	}
	return h.reading, nil
}

// writer gives the API for calls that write.
func (h *Host) writer(ctx context.Context) (api.Service, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, err := h.writable(ctx)
	if err != nil {
		return nil, err
	}
	return o.server, nil
}

// writable is called with the lock held.
func (h *Host) writable(ctx context.Context) (*opened, error) {
	if h.writing != nil {
		return h.writing, nil
	}
	if h.closed {
		return nil, errClosed()
	}
	if err := h.home.Ensure(); err != nil {
		return nil, err
	}
	schema, err := h.home.LockSchema(ctx)
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, h.home.DB(), store.Options{Alive: h.home.Alive, LockSchema: schema.Exclusive})
	if err != nil {
		return nil, errors.Join(err, schema.Release())
	}
	h.schema = schema
	h.writing = &opened{store: s, server: h.serve(s)}
	return h.writing, nil
}

// serve puts the API over a database.
func (h *Host) serve(s *store.Store) *api.Server {
	users := secretUsers{s}
	vault := secrets.New(s, users, h.keyring())
	flavors := flavors{h}
	reg := registry.New(registry.Parts{
		Store: s, Flavors: flavors, Secrets: vault, Pins: pins{}, Runs: activeRuns{s},
	})
	return api.NewServer(api.Parts{
		Version: Version, APIMajor: APIMajor,
		Home: homeAPI{h.home}, Registry: reg, Secrets: vault, Plugins: flavors,
		Runs: runQueries{s}, Artifacts: artifactQueries{s},
		Stores: &stores{host: h, registry: reg, store: s},
		Engine: h.driver, Drives: h.drives, Changed: h.changed.next,
	})
}

// keyring is where the identity that opens secrets stands.
func (h *Host) keyring() secrets.Keyring {
	if file := os.Getenv("CAIRN_IDENTITY_FILE"); file != "" {
		return secrets.Keyring{File: file, Given: true}
	}
	return secrets.Keyring{File: h.home.Identity()}
}

// register makes this process known as a host: lock first, then row, which is
// written meanwhile, since only lists read it. It is called with the lock held,
// and the database open for writing.
func (h *Host) register(ctx context.Context) error {
	if h.identity != nil {
		return nil
	}
	lock, err := h.home.Register(home.HostInfo{ID: h.id, PID: os.Getpid(), Kind: h.kind, Version: Version})
	if err != nil {
		return err
	}
	h.identity = lock
	row, s := model.Host{
		ID: h.id, PID: os.Getpid(), Kind: h.kind, Version: Version, Socket: h.socket, StartedAt: time.Now().UTC(),
	}, h.writing.store
	h.row = sync.OnceValue(func() error { return s.PutHost(context.WithoutCancel(ctx), row) })
	go h.row()
	return nil
}

// runtimeDir is this host's own directory for what dies with it.
func (h *Host) runtimeDir() string { return h.home.RuntimeDirOf(h.id) }

// shutdown bounds what is done when the host ends.
const shutdown = 2 * time.Second

// Close lets go of runs, then stops plugins and closes the database, side by
// side, and gives up the host's lock last, within 2 s. What a call has in hand ends with an error.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	eng, st, manager := h.engine, h.stacks, h.manager
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	var errs []error
	if eng != nil {
		errs = append(errs, eng.Close(ctx))
	}
	if st != nil {
		st.close()
	}
	stopped := make(chan error, 1)
	go func() {
		if manager == nil {
			stopped <- nil
			return
		}
		stopped <- manager.Close()
	}()
	errs = append(errs, h.leave(ctx))
	errs = append(errs, <-stopped)
	errs = append(errs, h.release())
	if h.closeLog != nil {
		h.closeLog()
	}
	return errors.Join(errs...)
}

// leave takes back the rows of this host and of hosts that were killed, and
// closes the databases.
func (h *Host) leave(ctx context.Context) error {
	var errs []error
	if h.identity != nil {
		errs = append(errs, h.row())
		dead, err := h.home.Sweep()
		errs = append(errs, err)
		for _, id := range dead {
			// Its guard removed it, unless that was killed too.
			errs = append(errs, os.RemoveAll(h.home.RuntimeDirOf(id)))
		}
		for _, id := range append(dead, h.id) {
			errs = append(errs, h.writing.store.DeleteHost(ctx, id))
		}
	}
	if h.writing != nil {
		errs = append(errs, h.writing.store.Close())
	}
	if h.reading != nil {
		errs = append(errs, h.reading.store.Close())
	}
	return errors.Join(errs...)
}

// release gives up the locks: whoever gets them finds nothing of this host.
func (h *Host) release() error {
	var errs []error
	if h.identity != nil {
		errs = append(errs, h.identity.Release())
	}
	if h.schema != nil {
		errs = append(errs, h.schema.Release())
	}
	return errors.Join(errs...)
}
