package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// Plugins lists every plugin that was found, in the order in which they win, and
// those that were approved and whose file is gone. A plugin that
// cannot be used has a status that says so and a detail that says what to do;
// it never hides another.
func (m *Manager) Plugins(ctx context.Context) ([]model.Plugin, error) {
	rows, err := m.rows(ctx)
	if err != nil {
		return nil, err
	}
	var out []model.Plugin
	for _, j := range m.judge(ctx, m.find(), rows) {
		switch {
		case j.shadowedBy != "":
			j.plugin.Status = model.PluginShadowed
			j.plugin.Detail = fmt.Sprintf("%s comes first; remove one of them, or change %s", j.shadowedBy, EnvPath)
		case j.err != nil:
			j.plugin.Detail = sentence(j.err)
		}
		delete(rows, j.path)
		out = append(out, j.plugin)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return append(out, m.gone(ctx, rows)...), nil
}

// gone gives those of the catalogue that were approved and whose file is not
// there any more. Others are forgotten: they may be of another installation
// that uses the same home.
func (m *Manager) gone(ctx context.Context, rows map[string]model.Plugin) []model.Plugin {
	var out []model.Plugin
	for _, p := range rows {
		if _, err := os.Lstat(p.Path); err == nil {
			continue
		}
		if p.ApprovedAt.IsZero() {
			if err := m.o.Catalogue.DeletePlugin(ctx, p.Name, p.Path); err != nil {
				m.log.Debug("the catalogue of plugins was not written", "plugin", p.Name, "error", err)
			}
			continue
		}
		p.Status = model.PluginMissing
		p.Detail = fmt.Sprintf("there is no plugin at %s any more; install it again", p.Path)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b model.Plugin) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// Plugin gives the plugin of a name, with near misses where there is none.
func (m *Manager) Plugin(ctx context.Context, name string) (model.Plugin, error) {
	all, err := m.Plugins(ctx)
	if err != nil {
		return model.Plugin{}, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return model.Plugin{}, diag.Errorf(diag.NotFound, "there is no plugin '%s'%s", name, diag.DidYouMean(name, names)).
		WithHint("run 'cairn plugin list' for the plugins that are there")
}

func (m *Manager) rows(ctx context.Context) (map[string]model.Plugin, error) {
	list, err := m.o.Catalogue.Plugins(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue of plugins: %w", err)
	}
	rows := make(map[string]model.Plugin, len(list))
	for _, p := range list {
		rows[p.Path] = p
	}
	return rows, nil
}

// judged is a candidate and what trusted said of it.
type judged struct {
	candidate
	plugin model.Plugin
	err    error
}

// judge applies trusted to candidates side by side, in their order: one that
// hangs while it is described delays no other.
func (m *Manager) judge(ctx context.Context, candidates []candidate, rows map[string]model.Plugin) []judged {
	out := make([]judged, len(candidates))
	var wg sync.WaitGroup
	for n, c := range candidates {
		wg.Go(func() {
			p, err := m.trusted(ctx, c, rows[c.path])
			out[n] = judged{c, p, err}
		})
	}
	wg.Wait()
	return out
}

// failure is why a file could not be described.
type failure struct {
	file model.FileIdentity
	err  error
}

// trusted is the rule of trust: it gives the described plugin of a candidate if
// it may be launched, else what is known of it, its status and why. row is its
// entry in the catalogue, empty for none.
func (m *Manager) trusted(ctx context.Context, c candidate, row model.Plugin) (model.Plugin, error) {
	// What it served when it was described last stays known, so that an error can
	// say which plugin a flavor lacks.
	p := model.Plugin{Name: c.name, Path: c.path, Version: row.Version, BuiltIn: c.builtIn, ApprovedAt: row.ApprovedAt, Digest: row.Digest, Flavors: row.Flavors}
	f, err := openPlugin(c)
	if err != nil {
		p.Status = model.PluginBroken
		return p, err
	}
	defer f.Close()
	id, err := identityOf(f)
	if err != nil {
		p.Status = model.PluginBroken
		return p, err
	}
	if known, ok := m.known(c, row, id); ok {
		return known, nil
	}
	if p.Digest, err = digestFile(f); err != nil {
		p.Status = model.PluginBroken
		return p, err
	}
	p.File, p.ApprovedAt = id, time.Time{}
	if described(row) && row.Digest == p.Digest && m.mayRun(c, row) {
		// The same bytes in a new file.
		row.File, row.BuiltIn, row.Status, row.Detail = id, c.builtIn, model.PluginOK, ""
		m.remember(ctx, row, true)
		return row, nil
	}
	if c.shadowedBy != "" {
		return p, nil
	}
	if !c.builtIn && !m.o.Dev {
		return m.refuse(p, row)
	}
	found, err := m.describeOnce(ctx, p)
	if err != nil {
		p.Status = model.PluginBroken
		return p, err
	}
	m.remember(ctx, found, c.builtIn)
	return found, nil
}

// refuse says why a plugin that needs an approval is not launched.
func (m *Manager) refuse(p, row model.Plugin) (model.Plugin, error) {
	if !row.ApprovedAt.IsZero() && row.Digest != p.Digest {
		p.Status = model.PluginChanged
		return p, changedError(p.Name, p.Path, row.Digest, p.Digest)
	}
	p.Status = model.PluginNotApproved
	return p, diag.Errorf(diag.Plugin, "plugin %s is not approved", p.Name).
		WithDetail("%s has the digest %s", p.Path, p.Digest).
		WithHint("if you trust it, run 'cairn plugin approve %s'", p.Path)
}

// known gives what the catalogue, or this host, says of a file that is still
// the same.
func (m *Manager) known(c candidate, row model.Plugin, id model.FileIdentity) (model.Plugin, bool) {
	m.mu.Lock()
	mine, ok := m.described[c.path]
	m.mu.Unlock()
	if ok && mine.File == id {
		return mine, true
	}
	if described(row) && row.File == id && m.mayRun(c, row) {
		row.BuiltIn, row.Status, row.Detail = c.builtIn, model.PluginOK, ""
		return row, true
	}
	return model.Plugin{}, false
}

func (m *Manager) mayRun(c candidate, row model.Plugin) bool {
	return c.builtIn || m.o.Dev || !row.ApprovedAt.IsZero()
}

func described(row model.Plugin) bool { return row.Digest != "" && len(row.Flavors) > 0 }

// remember keeps a description for this host, and in the catalogue where it is
// to stay. The catalogue may be read-only: then the next host describes again.
func (m *Manager) remember(ctx context.Context, p model.Plugin, stays bool) {
	m.mu.Lock()
	m.described[p.Path] = p
	m.mu.Unlock()
	if !stays {
		return
	}
	if err := m.o.Catalogue.PutPlugin(ctx, p); err != nil {
		m.log.Debug("the catalogue of plugins was not written", "plugin", p.Name, "error", err)
	}
}

// openPlugin opens a candidate's file after checking what it is and whose.
func openPlugin(c candidate) (*os.File, error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, diag.Errorf(diag.Plugin, "plugin %s cannot be read: %w", c.name, err).
			WithHint("remove %s, or mend what it points to", c.path)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, diag.Errorf(diag.Plugin, "plugin %s is not a file: %s", c.name, c.path).
			WithHint("a plugin is an executable file called %sNAME", wire.BinaryPrefix)
	case info.Mode()&0o111 == 0:
		return nil, diag.Errorf(diag.Plugin, "plugin %s is not executable: %s", c.name, c.path).
			WithHint("run 'chmod +x %s'", c.path)
	}
	if err := checkOwner(c.path); err != nil {
		var e *diag.Error
		if errors.As(err, &e) {
			return nil, diag.Errorf(diag.Plugin, "plugin %s is not safe to run: %s", c.name, e.Summary).WithHint("%s", e.Hint)
		}
		return nil, diag.Errorf(diag.Plugin, "plugin %s: %w", c.name, err)
	}
	f, err := os.Open(c.path)
	if err != nil {
		return nil, diag.Errorf(diag.Plugin, "plugin %s cannot be read: %w", c.name, err).
			WithHint("run 'chmod u+r %s'", c.path)
	}
	return f, nil
}

// describeOnce describes a file, one caller at a time: those that waited get
// what the first found. A file that failed is not tried again, since it may
// have taken its whole time.
func (m *Manager) describeOnce(ctx context.Context, p model.Plugin) (model.Plugin, error) {
	m.mu.Lock()
	turn := m.turns[p.Path]
	if turn == nil {
		turn = make(chan struct{}, 1)
		m.turns[p.Path] = turn
	}
	m.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return p, context.Cause(ctx)
	}
	m.mu.Lock()
	done, failed := m.described[p.Path], m.failed[p.Path]
	m.mu.Unlock()
	switch p.File {
	case done.File:
		return done, nil
	case failed.file:
		return p, failed.err
	}
	found, err := m.describe(ctx, p)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.described[p.Path] = found
	} else if ctx.Err() == nil {
		m.failed[p.Path] = failure{p.File, err}
	}
	return found, err
}

// describe launches a plugin and asks it what it is.
func (m *Manager) describe(ctx context.Context, p model.Plugin) (model.Plugin, error) {
	p.Flavors = nil
	proc, err := m.process(ctx, p)
	if err != nil {
		return p, err
	}
	d, err := wire.NewClient(proc.Conn()).Describe(ctx)
	if err != nil {
		return p, describeError(p, proc.Explain(err))
	}
	if d.Name != p.Name {
		return p, diag.Errorf(diag.Plugin, "the plugin at %s calls itself %s", p.Path, d.Name).
			WithHint("rename the file to %s%s", wire.BinaryPrefix, d.Name)
	}
	if !slices.Contains(d.Channels, wire.ChannelInherited) {
		return p, diag.Errorf(diag.Plugin, "plugin %s offers no channel that this cairn knows", p.Name).
			WithHint("install a version of the plugin that serves on the inherited channel, or a newer cairn")
	}
	p.Version, p.SDK, p.Status, p.Detail = d.Version, d.SDK, model.PluginOK, ""
	p.Channels = nil
	for _, c := range d.Channels {
		p.Channels = append(p.Channels, string(c))
	}
	wantsEnv := false
	for _, f := range d.Flavors {
		p.Flavors = append(p.Flavors, flavorOf(p.Name, f))
		wantsEnv = wantsEnv || len(f.Env) > 0
	}
	if wantsEnv {
		// It runs without the variables that it has just asked for.
		m.drop(p)
	}
	return p, nil
}

func describeError(p model.Plugin, err error) error {
	var e *diag.Error
	if errors.As(err, &e) {
		return err
	}
	var pe *diag.PluginError
	if errors.As(err, &pe) {
		return &diag.Error{
			Code: diag.Plugin, Summary: fmt.Sprintf("plugin %s does not describe itself", p.Name),
			Detail: pe.Error(), Hint: pe.Hint, Err: err,
		}
	}
	return fmt.Errorf("describe plugin %s: %w", p.Name, err)
}

func flavorOf(plugin string, f wire.Flavor) model.Flavor {
	return model.Flavor{
		Type: model.ComponentType(f.Type), Name: f.Name, Plugin: plugin, Summary: f.Summary, Majors: f.Majors,
		SchemaVersion: f.SchemaVersion, ConfigSchema: f.ConfigSchema, Features: f.Features, Env: f.Env,
		MachineBound: f.MachineBound,
	}
}

// sentence is an error with its hint on one line.
func sentence(err error) string {
	var e *diag.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Error() + "; " + e.Hint
	}
	return err.Error()
}
