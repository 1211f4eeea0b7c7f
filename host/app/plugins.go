package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/pluginhost"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// catalogue keeps what is known of plugins in the database. Reading it opens
// that read-only; only a plugin that has to be described makes it writable.
type catalogue struct{ host *Host }

func (c catalogue) Plugins(ctx context.Context) ([]model.Plugin, error) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	o, err := c.host.readable(ctx)
	if err != nil {
		return nil, err
	}
	return o.store.Plugins(ctx)
}

func (c catalogue) PutPlugin(ctx context.Context, p model.Plugin) error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	o, err := c.host.writable(ctx)
	if err != nil {
		return err
	}
	return o.store.PutPlugin(ctx, p)
}

func (c catalogue) DeletePlugin(ctx context.Context, name, path string) error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	o, err := c.host.writable(ctx)
	if err != nil {
		return err
	}
	return o.store.DeletePlugin(ctx, name, path)
}

// stagingDir holds what is on its way between host and plugins, where a store
// has no directory of its own for that.
func (h *Host) stagingDir() string { return filepath.Join(h.home.Dir, "staging") }

// plugins gives the manager of plugin processes. Making it starts nothing.
func (h *Host) plugins(ctx context.Context) (*pluginhost.Manager, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.manager != nil {
		return h.manager, nil
	}
	o, err := h.readable(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.home.EnsureRuntimeDir(); err != nil {
		return nil, err
	}
	m, err := pluginhost.New(pluginhost.Options{
		Catalogue: catalogue{h}, Executable: h.executable,
		Path:        pluginhost.SplitPath(os.Getenv(pluginhost.EnvPath)),
		HomePlugins: h.home.Plugins(), RuntimeDir: h.runtimeDir(), HomeID: o.store.HomeID(),
		ExchangeRoots: []string{h.stagingDir()},
		Dev:           os.Getenv(pluginhost.EnvDev) == "1",
		Logger:        h.log,
	})
	if err != nil {
		return nil, err
	}
	h.manager = m
	return m, nil
}

// flavors is the manager as registry and API ask for it.
type flavors struct{ host *Host }

func (f flavors) Flavors(ctx context.Context, t model.ComponentType) ([]model.Flavor, error) {
	m, err := f.host.plugins(ctx)
	if err != nil {
		return nil, err
	}
	return m.Flavors(ctx, t)
}

func (f flavors) Plugins(ctx context.Context) ([]model.Plugin, error) {
	m, err := f.host.plugins(ctx)
	if err != nil {
		return nil, err
	}
	return m.Plugins(ctx)
}

func (f flavors) Approve(ctx context.Context, path, expected string, dryRun bool) (model.Plugin, string, error) {
	m, err := f.host.plugins(ctx)
	if err != nil {
		return model.Plugin{}, "", err
	}
	a, err := m.Approve(ctx, path, expected, dryRun)
	return a.Plugin, a.Previous, err
}

// ValidateConfig asks the plugin what the schema cannot say.
func (f flavors) ValidateConfig(ctx context.Context, c model.Component) ([]model.ReportFinding, error) {
	m, err := f.host.plugins(ctx)
	if err != nil {
		return nil, err
	}
	flavor, err := m.Flavor(ctx, c.Type, c.Flavor)
	if err != nil {
		return nil, err
	}
	cfg, err := withDefaults(flavor, c.Config)
	if err != nil {
		return nil, err
	}
	list, err := m.ValidateConfig(ctx, c.Type, c.Flavor, cfg)
	return reportFindings(list), err
}

func reportFindings(list diag.List) []model.ReportFinding {
	var out []model.ReportFinding
	for _, d := range list {
		out = append(out, model.ReportFinding{
			Warning: d.Severity == diag.SeverityWarning, Summary: d.Summary, Detail: d.Detail,
			Path: d.Path, Fault: string(d.Fault), Hint: d.Hint,
		})
	}
	return out
}

// Probe opens components as a run would; with check, their backends are asked
// to write, read and delete.
func (f flavors) Probe(ctx context.Context, stack model.StackSnapshot, check bool) ([]model.ComponentReport, error) {
	m, err := f.host.plugins(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]model.ComponentReport, len(stack.Components))
	var asked []int
	var resolved []pluginhost.ResolvedComponent
	for i, c := range stack.Components {
		rc, err := f.host.resolve(ctx, m, c.Component)
		if err != nil {
			out[i] = failedReport(c.Component, err)
			continue
		}
		asked, resolved = append(asked, i), append(resolved, rc)
	}
	for k, c := range m.Check(ctx, resolved, check) {
		i := asked[k]
		if c.Err != nil {
			out[i] = failedReport(c.Component, c.Err)
			continue
		}
		out[i] = model.ComponentReport{
			Component: stack.Components[i].Component, State: model.HealthState(c.State),
			Findings: reportFindings(c.Diagnostics), Latency: c.Latency,
		}
	}
	return out, nil
}

func failedReport(c model.Component, err error) model.ComponentReport {
	report := model.ComponentReport{Component: c, State: model.HealthFailed}
	e, ok := asDiag(err)
	if !ok {
		report.Findings = []model.ReportFinding{{Summary: err.Error()}}
		return report
	}
	report.Findings = reportFindings(e.Findings)
	if !e.Findings.HasError() {
		f := model.ReportFinding{Summary: e.Summary, Detail: e.Detail, Hint: e.Hint}
		if e.Code == diag.Plugin {
			f.Fault = string(diag.FaultPlugin)
		}
		report.Findings = append([]model.ReportFinding{f}, report.Findings...)
	} else if last := &report.Findings[len(report.Findings)-1]; last.Hint == "" {
		last.Hint = e.Hint
	}
	return report
}

// withDefaults fills in what a config leaves out.
func withDefaults(f model.Flavor, cfg json.RawMessage) (json.RawMessage, error) {
	schema, err := config.Parse(f.ConfigSchema)
	if err != nil {
		return nil, diag.Errorf(diag.Plugin, "plugin '%s' gives a config schema that cannot be used: %w", f.Plugin, err).
			WithHint("this is an error in the plugin; report it to its developer")
	}
	if len(bytes.TrimSpace(cfg)) == 0 {
		cfg = json.RawMessage("{}")
	}
	return schema.ApplyDefaults(cfg)
}

// resolve makes a component ready for its plugin: defaults filled in, the path
// of the built-in store computed, secrets opened.
func (h *Host) resolve(ctx context.Context, m *pluginhost.Manager, c model.Component) (pluginhost.ResolvedComponent, error) {
	out := pluginhost.ResolvedComponent{Component: c}
	f, err := m.Flavor(ctx, c.Type, c.Flavor)
	if err != nil {
		return out, err
	}
	cfg := c.Config
	if c.ID == model.DefaultArtifactStoreID {
		if cfg, err = json.Marshal(map[string]string{"path": h.home.Artifacts()}); err != nil {
			return out, fmt.Errorf("encode config: %w", err)
		}
	}
	if out.Config, err = withDefaults(f, cfg); err != nil {
		return out, err
	}
	refs, err := config.References(out.Config)
	if err != nil || len(refs) == 0 {
		return out, err
	}
	out.Secrets = map[string]string{}
	opened := map[string]map[string]string{}
	for _, ref := range refs {
		values, ok := opened[ref.Secret]
		if !ok {
			if values, err = h.SecretValues(ctx, ref.Secret); err != nil {
				return out, unresolved(c, ref, err)
			}
			opened[ref.Secret] = values
		}
		value, ok := values[ref.Key]
		if !ok {
			return out, unresolved(c, ref, diag.Errorf(diag.NotFound, "secret '%s' has no key '%s'", ref.Secret, ref.Key).
				WithHint("add it: cairn secret update %s", ref.Secret))
		}
		out.Secrets[ref.String()] = value
	}
	return out, nil
}

func unresolved(c model.Component, ref config.Reference, err error) error {
	e, ok := asDiag(err)
	if !ok {
		return fmt.Errorf("resolve {{%s}}: %w", ref, err)
	}
	return &diag.Error{
		Code:    e.Code,
		Summary: fmt.Sprintf("%s '%s' cannot be configured: attribute '%s' needs {{%s}}", c.Type, c.Name, ref.Path, ref),
		Detail:  e.Error(), Hint: e.Hint, Err: err,
	}
}

// SecretValues opens a secret, for components and for steps that declared it.
func (h *Host) SecretValues(ctx context.Context, name string) (map[string]string, error) {
	h.mu.Lock()
	o, err := h.readable(ctx)
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return o.server.Secrets.SecretValues(ctx, name)
}
