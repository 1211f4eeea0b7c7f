package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// Stack is an open stack: configured instances of its components. Safe for
// concurrent use.
type Stack struct {
	instances    []*instance
	orchestrator *Orchestrator
	store        *ArtifactStore
	once         sync.Once
}

// OpenStack launches the plugins of components where they do not run yet,
// configures an instance of each component and opens it, all in parallel. There
// has to be one orchestrator and one artifact store. Every component that
// cannot be opened is in the error.
func (m *Manager) OpenStack(ctx context.Context, components []ResolvedComponent) (*Stack, error) {
	m.Warm()
	instances := make([]*instance, len(components))
	errs := make([]error, len(components))
	var wg sync.WaitGroup
	for n, rc := range components {
		wg.Go(func() { instances[n], errs[n] = m.open(ctx, rc) })
	}
	wg.Wait()
	s := &Stack{}
	for _, i := range instances {
		if i != nil {
			s.instances = append(s.instances, i)
		}
	}
	err := joinErrors(errs)
	if err == nil {
		err = s.bind()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// bind makes the typed views of the instances.
func (s *Stack) bind() error {
	for _, i := range s.instances {
		var err error
		switch i.what.Component.Type {
		case model.Orchestrator:
			s.orchestrator, err = newOrchestrator(i)
		case model.ArtifactStore:
			s.store, err = newArtifactStore(i)
		}
		if err != nil {
			return componentError(i.what.Component, "cannot be used", err)
		}
	}
	if s.orchestrator == nil || s.store == nil {
		return diag.Errorf(diag.Invalid, "a stack needs an orchestrator and an artifact store").
			WithHint("run 'cairn stack describe' to see what the stack has")
	}
	return nil
}

// joinErrors gives the one error, or one that lists them all.
func joinErrors(errs []error) error {
	var real []error
	for _, err := range errs {
		if err != nil {
			real = append(real, err)
		}
	}
	if len(real) < 2 {
		return errors.Join(real...)
	}
	out := &diag.Error{Code: diag.CodeOf(real[0]), Summary: fmt.Sprintf("%d components of the stack cannot be used", len(real)), Err: errors.Join(real...)}
	for _, err := range real {
		d := diag.Diagnostic{Severity: diag.SeverityError, Summary: err.Error(), Fault: diag.FaultPlugin}
		var e *diag.Error
		if errors.As(err, &e) {
			d.Summary, d.Detail, d.Hint = e.Summary, e.Detail, e.Hint
			for _, f := range e.Findings {
				d.Detail += "; " + f.String()
			}
		}
		out.Findings = append(out.Findings, d)
	}
	return out
}

// Orchestrator of the stack.
func (s *Stack) Orchestrator() *Orchestrator { return s.orchestrator }

// ArtifactStore of the stack.
func (s *Stack) ArtifactStore() *ArtifactStore { return s.store }

// Close releases the instances; the plugins go on for other stacks, until the
// manager is closed. It takes at most 2 s.
func (s *Stack) Close() error {
	s.once.Do(func() {
		var wg sync.WaitGroup
		for _, i := range s.instances {
			wg.Go(i.release)
		}
		wg.Wait()
	})
	return nil
}

// Orchestrator is an open orchestrator.
type Orchestrator struct {
	i      *instance
	client *wire.OrchestratorClient
	facts  model.OrchestratorFacts
}

func newOrchestrator(i *instance) (*Orchestrator, error) {
	f, err := wire.OrchestratorFactsFromJSON(i.facts)
	if err != nil {
		return nil, badFacts(i, err)
	}
	return &Orchestrator{
		i: i, client: wire.NewOrchestratorClient(i.proc.Conn(), i.request.Instance),
		facts: model.OrchestratorFacts{Attached: f.Attached, MaxParallel: f.MaxParallel, JobsOutliveHost: f.JobsOutliveHost},
	}, nil
}

func badFacts(i *instance, err error) error {
	return diag.Errorf(diag.Plugin, "plugin %s gives facts that cannot be used: %w", i.plugin.Name, err).
		WithHint("this is always an error in the plugin; report it to its developer")
}

// Facts of the orchestrator.
func (o *Orchestrator) Facts() model.OrchestratorFacts { return o.facts }

// CanRun gives what the orchestrator cannot honour, by step.
func (o *Orchestrator) CanRun(ctx context.Context, steps []model.PlannedStep) ([]model.StepFinding, error) {
	plan := make([]wire.PlannedStep, 0, len(steps))
	for _, s := range steps {
		plan = append(plan, wire.PlannedStep{Name: s.Name, Execution: string(s.Execution), Timeout: s.Timeout})
	}
	var found []wire.StepDiagnostic
	err := o.i.do(ctx, func() (err error) {
		found, err = o.client.CanRun(ctx, plan)
		return err
	})
	if err != nil {
		return nil, componentError(o.i.what.Component, "cannot judge the plan", err)
	}
	out := make([]model.StepFinding, 0, len(found))
	for _, d := range found {
		out = append(out, model.StepFinding{
			Step: d.Step, Summary: d.Diagnostic.Summary, Detail: d.Diagnostic.Detail, Hint: d.Diagnostic.Hint,
			Warning: d.Diagnostic.Severity == diag.SeverityWarning,
		})
	}
	return out, nil
}

// ComponentCheck is what a check of a component found.
type ComponentCheck struct {
	Component model.Component
	// State is "ok", "degraded" or "failed".
	State       string
	Diagnostics diag.List
	// Latency is the time that the backend took to answer.
	Latency time.Duration
	// Err says why the component could not be checked; the state is then
	// "failed".
	Err error
}

// Check opens each component and looks whether its backend works, in parallel;
// deep also writes, reads and deletes. A result for each, in order.
func (m *Manager) Check(ctx context.Context, components []ResolvedComponent, deep bool) []ComponentCheck {
	m.Warm()
	out := make([]ComponentCheck, len(components))
	var wg sync.WaitGroup
	for n, rc := range components {
		wg.Go(func() { out[n] = m.check(ctx, rc, deep) })
	}
	wg.Wait()
	return out
}

func (m *Manager) check(ctx context.Context, rc ResolvedComponent, deep bool) ComponentCheck {
	c := ComponentCheck{Component: rc.Component, State: string(wire.CheckFailed)}
	i, err := m.open(ctx, rc)
	if err != nil {
		c.Err = err
		return c
	}
	defer i.release()
	depth := wire.DepthReachable
	if deep {
		depth = wire.DepthRoundTrip
	}
	res, err := i.client.Check(ctx, i.request.Instance, depth)
	if err != nil {
		c.Err = componentError(rc.Component, "cannot be checked", hide(i.proc.Explain(err), rc.Secrets))
		return c
	}
	c.State, c.Diagnostics, c.Latency = string(res.State), res.Diagnostics, res.Latency
	return c
}

// Snapshot gives a component with the plugin that serves it now. It launches
// nothing that is known.
func (m *Manager) Snapshot(ctx context.Context, c model.Component) (model.ComponentSnapshot, error) {
	_, p, err := m.lookUp(ctx, c.Type, c.Flavor)
	if err != nil {
		return model.ComponentSnapshot{}, componentError(c, "cannot be used", err)
	}
	return model.ComponentSnapshot{Component: c, Plugin: p.Name, PluginVersion: p.Version, PluginDigest: p.Digest}, nil
}
