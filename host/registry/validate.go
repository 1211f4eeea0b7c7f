package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func asDiag(err error) (*diag.Error, bool) {
	var e *diag.Error
	ok := errors.As(err, &e)
	return e, ok
}

// Snapshot is a stack as a run is made with it: components at their revisions,
// and the plugins that serve them now.
func (r *Registry) Snapshot(ctx context.Context, s model.Stack) (model.StackSnapshot, error) {
	components, err := r.StackComponents(ctx, s)
	if err != nil {
		return model.StackSnapshot{}, err
	}
	out := model.StackSnapshot{StackID: s.ID, Name: s.Name}
	r = r.once()
	for _, c := range components {
		snap, err := r.snapshotOf(ctx, c)
		if err != nil {
			return model.StackSnapshot{}, err
		}
		out.Components = append(out.Components, snap)
	}
	return out, nil
}

func (r *Registry) snapshotOf(ctx context.Context, c model.Component) (model.ComponentSnapshot, error) {
	f, err := r.GetFlavor(ctx, c.Type, c.Flavor)
	if err != nil {
		return model.ComponentSnapshot{}, err
	}
	p, err := r.plugin(ctx, f.Plugin)
	if err != nil {
		return model.ComponentSnapshot{}, err
	}
	return model.ComponentSnapshot{Component: c, Plugin: p.Name, PluginVersion: p.Version, PluginDigest: p.Digest}, nil
}

// ValidateStack says of each component of a stack whether a run could use it:
// flavor, config and secrets, then what the plugin says when it is opened; with
// check, what its backend says.
func (r *Registry) ValidateStack(ctx context.Context, s model.Stack, check bool) ([]model.ComponentReport, error) {
	components, err := r.StackComponents(ctx, s)
	if err != nil {
		return nil, err
	}
	r = r.once()
	reports := make([]model.ComponentReport, len(components))
	probe := model.StackSnapshot{StackID: s.ID, Name: s.Name}
	var probed []int
	for i, c := range components {
		reports[i] = model.ComponentReport{Component: c, State: model.HealthOK}
		snap, found, err := r.standing(ctx, c)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			reports[i].Findings = append(reports[i].Findings, reportFinding(d))
		}
		if found.HasError() {
			reports[i].State = model.HealthFailed
			continue
		}
		probe.Components = append(probe.Components, snap)
		probed = append(probed, i)
	}
	answers, err := r.flavors.Probe(ctx, probe, check)
	if err != nil {
		return nil, err
	}
	if len(answers) != len(probed) {
		return nil, fmt.Errorf("probe stack '%s': %d answers for %d components", s.Name, len(answers), len(probed))
	}
	for k, i := range probed {
		a := answers[k]
		reports[i].State, reports[i].Latency = a.State, a.Latency
		reports[i].Findings = append(reports[i].Findings, a.Findings...)
	}
	return reports, nil
}

// standing is what there is to say of a component without starting it.
func (r *Registry) standing(ctx context.Context, c model.Component) (model.ComponentSnapshot, diag.List, error) {
	failed := func(err error) (model.ComponentSnapshot, diag.List, error) {
		e, ok := asDiag(err)
		if !ok {
			return model.ComponentSnapshot{}, nil, err
		}
		return model.ComponentSnapshot{}, append(diag.List{{
			Severity: diag.SeverityError, Summary: e.Summary, Detail: e.Detail, Hint: e.Hint, Fault: diag.FaultPlugin,
		}}, e.Findings...), nil
	}
	snap, err := r.snapshotOf(ctx, c)
	if err != nil {
		return failed(err)
	}
	if isDefaultStore(c) {
		return snap, nil, nil
	}
	f, err := r.GetFlavor(ctx, c.Type, c.Flavor)
	if err != nil {
		return failed(err)
	}
	found, err := r.schemaFindings(ctx, c, f)
	if err != nil {
		return failed(err)
	}
	return snap, found, nil
}

func reportFinding(d diag.Diagnostic) model.ReportFinding {
	return model.ReportFinding{
		Warning: d.Severity == diag.SeverityWarning, Summary: d.Summary, Detail: d.Detail,
		Path: d.Path, Fault: string(d.Fault), Hint: d.Hint,
	}
}
