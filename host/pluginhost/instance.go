package pluginhost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/cairn-stack/cairn/sdk/wire/launch"
)

// releaseTimeout is how long an instance is waited for when it is given up.
const releaseTimeout = 2 * time.Second

// ResolvedComponent is a component as a plugin is to be configured with it.
type ResolvedComponent struct {
	Component model.Component
	// Config is a JSON object with defaults and computed values filled in;
	// secret references stand as they are.
	Config json.RawMessage
	// Secrets are the values of the config's references, by reference.
	Secrets map[string]string
}

// instance is a configured component in a plugin process.
type instance struct {
	m       *Manager
	what    ResolvedComponent
	plugin  model.Plugin
	proc    *launch.Process
	client  *wire.Client
	request wire.ConfigureRequest

	// Of the first time that it was configured and opened; they do not change.
	facts    json.RawMessage
	identity string

	mu         sync.Mutex
	generation int
}

// open launches the component's plugin, configures an instance and opens it.
func (m *Manager) open(ctx context.Context, rc ResolvedComponent) (*instance, error) {
	i, err := m.configure(ctx, rc)
	if err != nil {
		return nil, componentError(rc.Component, "cannot be configured", hide(err, rc.Secrets))
	}
	if err := i.open(ctx); err != nil {
		i.release()
		return nil, componentError(rc.Component, "cannot be opened", hide(i.proc.Explain(err), rc.Secrets))
	}
	return i, nil
}

// configure launches the component's plugin and configures an instance, which
// needs no backend.
func (m *Manager) configure(ctx context.Context, rc ResolvedComponent) (*instance, error) {
	flavor, plugin, err := m.lookUp(ctx, rc.Component.Type, rc.Component.Flavor)
	if err != nil {
		return nil, err
	}
	if err := checkMajors(flavor, hostMajors(flavor.Type)); err != nil {
		return nil, err
	}
	if rc.Component.SchemaVersion > flavor.SchemaVersion {
		return nil, diag.Errorf(diag.Plugin, "plugin %s is older than the one that registered the component", plugin.Name).
			WithDetail("its schema version is %d, and the component's config has %d", flavor.SchemaVersion, rc.Component.SchemaVersion).
			WithHint("install a newer version of the plugin %s", plugin.Name)
	}
	proc, err := m.process(ctx, plugin)
	if err != nil {
		return nil, err
	}
	i := &instance{
		m: m, what: rc, plugin: plugin, proc: proc, client: wire.NewClient(proc.Conn()),
		request: wire.ConfigureRequest{
			Instance: randomHex(), Type: string(rc.Component.Type), Flavor: rc.Component.Flavor,
			Config: rc.Config, Secrets: rc.Secrets, HostFeatures: m.o.HostFeatures,
			ExchangeRoots: append(slices.Clone(m.o.ExchangeRoots), m.probeDir()),
			Component:     wire.ComponentRef{ID: rc.Component.ID, Name: rc.Component.Name, Revision: rc.Component.Revision},
		},
	}
	configured, err := i.configureOnce(ctx)
	if err != nil {
		return nil, proc.Explain(err)
	}
	i.facts = configured.Facts
	return i, nil
}

func (i *instance) configureOnce(ctx context.Context) (wire.Configured, error) {
	configured, err := i.client.Configure(ctx, i.request)
	if err != nil {
		return configured, err
	}
	for _, d := range configured.Diagnostics {
		if d.Severity == diag.SeverityWarning {
			i.m.log.Warn(d.String(), "component", i.what.Component.Name, "type", i.what.Component.Type)
		}
	}
	if configured.Diagnostics.HasError() {
		return configured, &diag.Error{
			Code: diag.Invalid, Summary: "the config is not valid", Findings: configured.Diagnostics, Err: diag.ErrInvalidConfig,
			Hint: fmt.Sprintf("run 'cairn %s update %s' with what is to change", i.what.Component.Type, i.what.Component.Name),
		}
	}
	return configured, nil
}

// open identifies the backend. A store has to see the files of this machine:
// it reads back what is written to a probe.
func (i *instance) open(ctx context.Context) error {
	req := wire.OpenRequest{Instance: i.request.Instance, HomeID: i.m.o.HomeID}
	isStore := i.what.Component.Type == model.ArtifactStore
	var nonce string
	if isStore {
		nonce = randomHex()
		path, err := i.m.writeProbe(nonce)
		if err != nil {
			return err
		}
		defer os.Remove(path)
		req.ProbePath = path
	}
	opened, err := i.client.Open(ctx, req)
	if err != nil {
		return err
	}
	if isStore {
		if opened.Identity == "" {
			return diag.Errorf(diag.Plugin, "plugin %s gives the store no identity", i.plugin.Name).
				WithHint("this is always an error in the plugin; report it to its developer")
		}
		if string(opened.Probe) != nonce {
			return diag.Errorf(diag.Plugin, "plugin %s does not see the files of this machine", i.plugin.Name).
				WithDetail("a file that was written to %s came back different", i.m.probeDir()).
				WithHint("run the plugin on the same machine and file system as cairn")
		}
	}
	if i.identity == "" {
		i.identity = opened.Identity
	}
	if i.identity != opened.Identity {
		return diag.Errorf(diag.Plugin, "%s '%s' is another store than it was", i.what.Component.Type, i.what.Component.Name).
			WithDetail("its identity was %s and is now %s", i.identity, opened.Identity).
			WithHint("see whether its directory or bucket was replaced, then start the run again")
	}
	return nil
}

// do makes a call, and makes it again after configuring again where the plugin
// does not know the instance.
func (i *instance) do(ctx context.Context, call func() error) error {
	i.mu.Lock()
	seen := i.generation
	i.mu.Unlock()
	err := call()
	if errors.Is(err, diag.ErrNotConfigured) {
		if err = i.again(ctx, seen); err == nil {
			err = call()
		}
	}
	return hide(i.proc.Explain(err), i.what.Secrets)
}

// again configures and opens the instance anew, once for all calls that found
// the same generation unknown.
func (i *instance) again(ctx context.Context, seen int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.generation != seen {
		return nil
	}
	if _, err := i.configureOnce(ctx); err != nil {
		return componentError(i.what.Component, "cannot be configured", hide(err, i.what.Secrets))
	}
	if err := i.open(ctx); err != nil {
		return componentError(i.what.Component, "cannot be opened", hide(err, i.what.Secrets))
	}
	i.generation++
	return nil
}

// release gives the instance up. It waits for a bounded time; a plugin that
// does not answer is stopped with the host at the latest.
func (i *instance) release() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if !i.proc.Running() {
		return
	}
	if err := i.client.Release(ctx, i.request.Instance); err != nil {
		i.m.log.Debug("an instance was not released", "component", i.what.Component.Name, "error", err)
	}
}

// probeDir is the exchange root in which probes are written.
func (m *Manager) probeDir() string { return filepath.Join(m.o.RuntimeDir, "probe") }

func (m *Manager) writeProbe(nonce string) (string, error) {
	// Not its parent: that is gone when the manager is closed.
	if err := os.Mkdir(m.probeDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("write a probe: %w", err)
	}
	path := filepath.Join(m.probeDir(), randomHex())
	if err := os.WriteFile(path, []byte(nonce), 0o600); err != nil {
		return "", fmt.Errorf("write a probe: %w", err)
	}
	return path, nil
}

func randomHex() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// componentError says of which component a failure was, and what it failed at.
func componentError(c model.Component, what string, err error) error {
	out := &diag.Error{Code: diag.Plugin, Err: err, Summary: fmt.Sprintf("%s '%s' %s", strings.ReplaceAll(string(c.Type), "-", " "), c.Name, what)}
	var e *diag.Error
	var pe *diag.PluginError
	switch {
	case errors.As(err, &e):
		out.Code, out.Hint, out.Findings = e.Code, e.Hint, e.Findings
		out.Summary += ": " + e.Summary
		out.Detail = e.Detail
	case errors.As(err, &pe):
		out.Detail, out.Hint = pe.Error(), pe.Hint
		if pe.Reason == diag.ErrInvalidConfig || pe.Fault == diag.FaultConfig {
			out.Code = diag.Invalid
		}
		if c.ID == model.DefaultArtifactStoreID && pe.Fault == diag.FaultConfig {
			// Built in: its config cannot be changed.
			out.Hint = "mend the directory, or choose another home: export CAIRN_HOME=DIR"
		}
		if pe.Path != "" {
			out.Findings = diag.List{{Severity: diag.SeverityError, Summary: pe.Error(), Path: pe.Path, Fault: pe.Fault}}
			out.Detail = ""
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("open %s %s: %w", c.Type, c.Name, err)
	default:
		out.Code, out.Detail = diag.Internal, err.Error()
	}
	if out.Hint == "" {
		out.Hint = fmt.Sprintf("run 'cairn %s describe %s' to see how it is set up", c.Type, c.Name)
	}
	return out
}
