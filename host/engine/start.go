package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// CreateRun validates the spec, opens the stack, asks it whether it can do what
// the spec asks, and makes the run durable. Where anything is refused, nothing
// was written.
func (e *Engine) CreateRun(ctx context.Context, req NewRunRequest) (Started, error) {
	p, digest, err := e.planOf(ctx, req.Spec)
	if err != nil {
		return Started{}, err
	}
	defer e.lock(req.ID)()
	if r := e.active(req.ID); r != nil {
		rec, err := e.cfg.Journal.LoadRun(ctx, req.ID)
		if err != nil {
			return Started{}, explain(req.ID, "read it", err)
		}
		return r.started(rec.Run, nil), nil
	}
	stack, warnings, err := e.openStack(ctx, req.Snapshot, p)
	if err != nil {
		return Started{}, err
	}
	r, err := e.create(ctx, req, p, digest, stack)
	if err != nil {
		stack.Close()
		return Started{}, err
	}
	if r.run == nil {
		stack.Close()
		return Started{Run: r.Run}, nil
	}
	return r.run.started(r.Run, warnings), nil
}

// created is a run, and the engine's work on it; none where the run is not, or
// no longer, this engine's to drive.
type created struct {
	model.Run
	run *run
}

func (e *Engine) create(ctx context.Context, req NewRunRequest, p *plan, digest string, stack Stack) (created, error) {
	now := e.cfg.Now().Truncate(time.Microsecond)
	m := newMachine(p, req.ID, 1, e.rules())
	m.begin(now)
	n := model.NewRun{
		Run: model.Run{
			ID: req.ID, Project: req.Project, Pipeline: req.Spec.Pipeline, Name: req.Name, Owner: e.cfg.HostID,
			Stack: req.Snapshot.Name, Labels: req.Labels, SpecDigest: digest, ResumedFrom: req.ResumedFrom, CreatedAt: now,
		},
		Spec: req.Spec, Snapshot: req.Snapshot, Recipe: req.Recipe, Provenance: req.Provenance, Reserve: m.take(),
	}
	if err := fault.Hit("engine.create.before-commit"); err != nil {
		return created{}, explain(req.ID, "create it", err)
	}
	run, err := e.cfg.Journal.CreateRun(ctx, n)
	if err != nil {
		return created{}, explain(req.ID, "create it", err)
	}
	if err := fault.Hit("engine.create.after-commit"); err != nil {
		return created{}, explain(req.ID, "create it", err)
	}
	if run.Owner != e.cfg.HostID || run.Epoch != 1 || run.State.Final() {
		return created{Run: run}, nil
	}
	r := e.newRun(run, m, stack)
	if !run.CreatedAt.Equal(now) {
		// A former call made it, with other attempts.
		if err := r.reload(ctx); err != nil {
			return created{}, err
		}
	}
	if err := e.start(r); err != nil {
		return created{}, err
	}
	return created{run, r}, nil
}

func (r *run) started(run model.Run, warnings diag.List) Started {
	return Started{Run: run, Slots: r.stack.Orchestrator().Facts().MaxParallel, Warnings: warnings}
}

// planOf validates a spec, and makes sure that its secrets can be read.
func (e *Engine) planOf(ctx context.Context, spec model.Spec) (*plan, string, error) {
	p, err := newPlan(spec)
	if err != nil {
		return nil, "", err
	}
	digest, err := SpecDigest(spec)
	if err != nil {
		return nil, "", err
	}
	checked := map[string]bool{}
	var found diag.List
	for _, n := range spec.Nodes {
		for _, name := range n.Step.Secrets {
			if checked[name] {
				continue
			}
			checked[name] = true
			if e.cfg.Secrets == nil {
				found = append(found, finding(n.Name, fmt.Sprintf("secret '%s': this host keeps no secrets", name), ""))
			} else if _, err := e.cfg.Secrets.SecretValues(ctx, name); err != nil {
				found = append(found, finding(n.Name, err.Error(), hintFor(err)))
			}
		}
	}
	if found.HasError() {
		return nil, "", &diag.Error{Code: diag.Refused, Summary: fmt.Sprintf("pipeline '%s' cannot get its secrets", spec.Pipeline), Findings: found}
	}
	return p, digest, nil
}

func hintFor(err error) string {
	var de *diag.Error
	if errors.As(err, &de) {
		return de.Hint
	}
	return ""
}

// openStack opens a stack and asks it about a plan.
func (e *Engine) openStack(ctx context.Context, snapshot model.StackSnapshot, p *plan) (Stack, diag.List, error) {
	stack, err := e.cfg.Stacks.OpenStack(ctx, snapshot)
	if err != nil {
		return nil, nil, err
	}
	warnings, err := e.judge(ctx, stack, snapshot, p)
	if err != nil {
		stack.Close()
		return nil, nil, err
	}
	return stack, warnings, nil
}

func (e *Engine) judge(ctx context.Context, stack Stack, snapshot model.StackSnapshot, p *plan) (diag.List, error) {
	refused := func(found diag.List) error {
		return &diag.Error{
			Code: diag.Refused, Summary: fmt.Sprintf("stack '%s' cannot run pipeline '%s'", snapshot.Name, p.spec.Pipeline), Findings: found,
			Hint: "Change the pipeline, or run it on another stack: --stack NAME",
		}
	}
	if !stack.Orchestrator().Facts().Attached {
		return nil, refused(diag.List{finding("", "its orchestrator runs no steps in the pipeline program, and this cairn has no other way", "")})
	}
	steps := make([]PlannedStep, len(p.spec.Nodes))
	for i, n := range p.spec.Nodes {
		steps[i] = PlannedStep{Name: n.Name, Execution: model.Attached, Timeout: n.Step.Timeout}
	}
	findings, err := stack.Orchestrator().CanRun(ctx, steps)
	if err != nil {
		return nil, fmt.Errorf("ask the orchestrator of stack '%s': %w", snapshot.Name, err)
	}
	var all diag.List
	for _, f := range findings {
		d := diag.Diagnostic{Severity: diag.SeverityError, Path: f.Step, Summary: f.Summary, Detail: f.Detail, Hint: f.Hint}
		if f.Warning {
			d.Severity = diag.SeverityWarning
		}
		all = append(all, d)
	}
	if all.HasError() {
		return nil, refused(all)
	}
	return all, nil
}

// ResumeRun acquires a run that is interrupted, failed or cancelled, and goes on
// with it: results that stand are adopted, failed steps tried again. Where it is
// refused, the run is as it was.
func (e *Engine) ResumeRun(ctx context.Context, req ResumeRequest) (Started, error) {
	p, digest, err := e.planOf(ctx, req.Spec)
	if err != nil {
		return Started{}, err
	}
	defer e.lock(req.Run)()
	rec, err := e.cfg.Journal.LoadRun(ctx, req.Run)
	if err != nil {
		return Started{}, explain(req.Run, "read it", err)
	}
	if err := resumable(rec, req.Spec, digest); err != nil {
		return Started{}, err
	}
	if err := e.makeWay(ctx, req); err != nil {
		return Started{}, err
	}
	stack, warnings, err := e.openStack(ctx, rec.Snapshot, p)
	if err != nil {
		return Started{}, err
	}
	r, run, err := e.acquire(ctx, rec.Run, p, stack, req.TakeOver)
	if err != nil {
		stack.Close()
		return Started{}, err
	}
	return r.started(run, warnings), nil
}

// resumable refuses a run that is completed, and one of another spec.
func resumable(rec model.RunRecord, spec model.Spec, digest string) error {
	if rec.Run.State == model.RunCompleted {
		return diag.Errorf(diag.Refused, "run %s is completed; there is nothing to resume", rec.Run.Name).
			WithHint("Start the program again for a new run.")
	}
	if digest == rec.Run.SpecDigest {
		return nil
	}
	return &diag.Error{
		Code: diag.Refused, Summary: fmt.Sprintf("run %s cannot be resumed: the pipeline is not the one that it began with", rec.Run.Name),
		Findings: differences(rec.Spec, spec),
		Hint:     "Resume it with the code and the parameters that it began with, or start the program again for a new run.",
	}
}

// makeWay lets go of a run that this engine drives, where its program is gone or
// the caller takes it over.
func (e *Engine) makeWay(ctx context.Context, req ResumeRequest) error {
	r := e.active(req.Run)
	if r == nil {
		return nil
	}
	open := false
	if err := r.do(ctx, func() { open = r.sess.open }); err != nil && err != errOver {
		return err
	}
	if open && !req.TakeOver {
		return explain(req.Run, "resume it", fmt.Errorf("its program is at work: %w", model.ErrOwned))
	}
	return e.Interrupt(ctx, req.Run)
}

// acquire makes the run this engine's, and goes on with it.
func (e *Engine) acquire(ctx context.Context, run model.Run, p *plan, stack Stack, takeOver bool) (*run, model.Run, error) {
	if err := fault.Hit("engine.acquire.before"); err != nil {
		return nil, run, explain(run.ID, "acquire it", err)
	}
	// A run that this very host let go of has no other owner to ask.
	takeOver = takeOver || run.Owner == e.cfg.HostID
	run, err := e.cfg.Journal.Acquire(ctx, run.ID, e.cfg.HostID, e.newID(), takeOver)
	if err != nil {
		return nil, run, explain(run.ID, "acquire it", err)
	}
	if err := fault.Hit("engine.acquire.after"); err != nil {
		return nil, run, explain(run.ID, "acquire it", err)
	}
	r := e.newRun(run, newMachine(p, run.ID, run.Epoch, e.rules()), stack)
	if err := r.reload(ctx); err != nil {
		return nil, run, err
	}
	r.removeLeftOvers()
	before := r.m.sorted()
	r.m.resume(e.cfg.Now(), r.resultStands, r.wasGiven)
	for _, a := range before {
		if a.state.Final() {
			r.dropFiles(a)
		}
	}
	for _, a := range r.m.sorted() {
		if a.offered {
			r.startOffer(a)
		}
	}
	if err := e.start(r); err != nil {
		r.cancel()
		close(r.done)
		r.wg.Wait()
		return nil, run, err
	}
	return r, run, nil
}

// reload fills the run from the journal.
func (r *run) reload(ctx context.Context) error {
	rec, err := r.e.cfg.Journal.LoadRun(ctx, r.id)
	if err != nil {
		return explain(r.id, "read it", err)
	}
	r.m = newMachine(r.m.plan, r.id, rec.Run.Epoch, r.m.rules)
	r.m.load(rec)
	for step, outputs := range rec.Outputs {
		r.outputs[step] = map[string]boundOutput{}
		for _, v := range outputs {
			r.outputs[step][v.Output] = boundOutput{
				id: v.ID, content: model.Content{Digest: v.Digest, Size: v.Size, Tree: v.Tree},
				typ: v.Type, inline: v.Inline, metadata: v.Metadata,
			}
		}
	}
	return nil
}

// wasGiven reports whether a former host may have given an attempt to a program:
// its directory was made.
func (r *run) wasGiven(a *attempt) bool {
	_, err := os.Lstat(r.dir(a.id))
	return err == nil || a.state == model.AttemptRunning
}
