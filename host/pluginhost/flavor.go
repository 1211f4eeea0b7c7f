package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// Flavors gives every flavor of the plugins that may be used, of one type or,
// for "", of all, in the order of types and names. Of two plugins with the same
// flavor the one that is found first has it. It launches a plugin only to
// describe one that is trusted and new.
func (m *Manager) Flavors(ctx context.Context, componentType model.ComponentType) ([]model.Flavor, error) {
	rows, err := m.rows(ctx)
	if err != nil {
		return nil, err
	}
	var out []model.Flavor
	seen := map[[2]string]bool{}
	for _, j := range m.judge(ctx, m.used(), rows) {
		if j.err != nil {
			continue
		}
		for _, f := range j.plugin.Flavors {
			id := [2]string{string(f.Type), f.Name}
			if seen[id] {
				m.log.Warn("a flavor is served by two plugins; the first has it", "type", f.Type, "flavor", f.Name, "ignored", j.path)
				continue
			}
			seen[id] = true
			if componentType == "" || f.Type == componentType {
				out = append(out, f)
			}
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	slices.SortStableFunc(out, func(a, b model.Flavor) int {
		if d := typeOrder(a.Type) - typeOrder(b.Type); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out, nil
}

func typeOrder(t model.ComponentType) int {
	if i := slices.Index(model.ComponentTypes(), t); i >= 0 {
		return i
	}
	return len(model.ComponentTypes())
}

// Flavor gives the flavor of a type and name. Where there is none, the error
// names near misses and the plugins that may not be used.
func (m *Manager) Flavor(ctx context.Context, componentType model.ComponentType, name string) (model.Flavor, error) {
	f, _, err := m.lookUp(ctx, componentType, name)
	return f, err
}

// lookUp gives a flavor and its plugin. It looks at one plugin after the other
// and stops at the one that has it, so that what stands behind costs nothing.
func (m *Manager) lookUp(ctx context.Context, componentType model.ComponentType, name string) (model.Flavor, model.Plugin, error) {
	rows, err := m.rows(ctx)
	if err != nil {
		return model.Flavor{}, model.Plugin{}, err
	}
	var names []string
	var bad diag.List
	for _, c := range m.used() {
		p, err := m.trusted(ctx, c, rows[c.path])
		if ctx.Err() != nil {
			return model.Flavor{}, model.Plugin{}, context.Cause(ctx)
		}
		if err != nil {
			bad = append(bad, diag.Diagnostic{Severity: diag.SeverityWarning, Summary: sentence(err), Fault: diag.FaultPlugin})
			continue
		}
		for _, f := range p.Flavors {
			if f.Type != componentType {
				continue
			}
			if f.Name == name {
				return f, p, nil
			}
			names = append(names, f.Name)
		}
	}
	e := diag.Errorf(diag.NotFound, "there is no %s flavor '%s'%s", componentType, name, diag.DidYouMean(name, names)).
		WithHint("run 'cairn %s flavor list' for the flavors that are there", componentType)
	e.Findings = bad
	return model.Flavor{}, model.Plugin{}, e
}

// used gives the candidates that no other shadows.
func (m *Manager) used() []candidate {
	return slices.DeleteFunc(m.find(), func(c candidate) bool { return c.shadowedBy != "" })
}

// ValidateConfig asks a flavor to judge a config (a JSON object with defaults
// filled in) beyond what its schema says. It launches the plugin.
func (m *Manager) ValidateConfig(ctx context.Context, componentType model.ComponentType, flavor string, config json.RawMessage) (diag.List, error) {
	_, p, err := m.lookUp(ctx, componentType, flavor)
	if err != nil {
		return nil, err
	}
	proc, err := m.process(ctx, p)
	if err != nil {
		return nil, err
	}
	list, err := wire.NewClient(proc.Conn()).ValidateConfig(ctx, string(componentType), flavor, config)
	if err != nil {
		return nil, fmt.Errorf("validate a config of the %s flavor %s: %w", componentType, flavor, proc.Explain(err))
	}
	return list, nil
}

// hostMajors are the majors of each component type's service that this host
// speaks.
func hostMajors(t model.ComponentType) []int {
	switch t {
	case model.Orchestrator, model.ArtifactStore:
		return []int{1}
	}
	return nil
}

// checkMajors sees that both sides speak a common major, of which the highest
// is used, or says which side to upgrade.
func checkMajors(f model.Flavor, host []int) error {
	if slices.ContainsFunc(f.Majors, func(major int) bool { return slices.Contains(host, major) }) {
		return nil
	}
	if len(host) == 0 || len(f.Majors) == 0 {
		return diag.Errorf(diag.Plugin, "this cairn does not know the component type %s", f.Type).WithHint("upgrade cairn")
	}
	e := diag.Errorf(diag.Plugin, "the %s flavor %s and this cairn speak no common version of their contract", f.Type, f.Name).
		WithDetail("plugin %s speaks %s, cairn speaks %s", f.Plugin, majorList(f.Majors), majorList(host))
	if slices.Max(f.Majors) < slices.Min(host) {
		return e.WithHint("upgrade the plugin %s", f.Plugin)
	}
	return e.WithHint("upgrade cairn")
}

func majorList(majors []int) string {
	var parts []string
	for _, m := range majors {
		parts = append(parts, fmt.Sprintf("v%d", m))
	}
	return strings.Join(parts, ", ")
}
