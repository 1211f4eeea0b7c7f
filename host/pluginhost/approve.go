package pluginhost

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// Approval is what Approve did, or would do.
type Approval struct {
	Plugin model.Plugin
	// Previous is the digest that was approved before; empty for none.
	Previous string
	// Changed: the approval is a new one.
	Changed bool
}

// Approve accepts the plugin at an absolute path as it is now: it is described,
// which runs it, and recorded. With an expected digest anything else is
// refused, unlaunched. A dry run only says what there is: nothing is run or
// written.
func (m *Manager) Approve(ctx context.Context, path, expected string, dryRun bool) (Approval, error) {
	c, err := m.candidateAt(path)
	if err != nil {
		return Approval{}, err
	}
	rows, err := m.rows(ctx)
	if err != nil {
		return Approval{}, err
	}
	row := rows[c.path]
	p, err := fingerprint(c)
	if err != nil {
		return Approval{}, err
	}
	if expected != "" && !strings.EqualFold(strings.TrimPrefix(expected, "sha256:"), strings.TrimPrefix(p.Digest, "sha256:")) {
		return Approval{}, diag.Errorf(diag.Refused, "plugin %s has another digest than expected", c.name).
			WithDetail("expected %s, and %s has %s", expected, c.path, p.Digest).
			WithHint("nothing was approved; find out where the file comes from")
	}
	a := Approval{Plugin: p}
	if !row.ApprovedAt.IsZero() {
		a.Previous = row.Digest
	}
	if a.Previous == p.Digest && described(row) {
		row.Status, row.BuiltIn = model.PluginOK, c.builtIn
		a.Plugin = row
		return a, nil
	}
	a.Changed = true
	if dryRun {
		a.Plugin.Version, a.Plugin.Status = row.Version, model.PluginNotApproved
		if a.Previous != "" {
			a.Plugin.Status = model.PluginChanged
		}
		return a, nil
	}
	if a.Plugin, err = m.describe(ctx, p); err != nil {
		return Approval{}, err
	}
	a.Plugin.ApprovedAt = time.Now().UTC()
	if err := m.o.Catalogue.PutPlugin(ctx, a.Plugin); err != nil {
		return Approval{}, fmt.Errorf("record the approval of plugin %s: %w", c.name, err)
	}
	m.mu.Lock()
	m.described[c.path] = a.Plugin
	m.mu.Unlock()
	return a, nil
}

// candidateAt makes a candidate of a path that a user gave.
func (m *Manager) candidateAt(path string) (candidate, error) {
	if !filepath.IsAbs(path) {
		return candidate{}, diag.Errorf(diag.Invalid, "%q is not an absolute path", path)
	}
	path = filepath.Clean(path)
	name, ok := strings.CutPrefix(filepath.Base(path), wire.BinaryPrefix)
	if !ok || !model.ValidName(name) {
		return candidate{}, diag.Errorf(diag.Invalid, "%s does not have the name of a plugin", path).
			WithHint("a plugin is an executable file called %sNAME", wire.BinaryPrefix)
	}
	return candidate{name: name, path: path, builtIn: filepath.Dir(path) == m.executableDir()}, nil
}

// fingerprint checks and hashes a candidate's file.
func fingerprint(c candidate) (model.Plugin, error) {
	f, err := openPlugin(c)
	if err != nil {
		return model.Plugin{}, err
	}
	defer f.Close()
	p := model.Plugin{Name: c.name, Path: c.path, BuiltIn: c.builtIn}
	if p.File, err = identityOf(f); err != nil {
		return model.Plugin{}, err
	}
	if p.Digest, err = digestFile(f); err != nil {
		return model.Plugin{}, err
	}
	return p, nil
}
