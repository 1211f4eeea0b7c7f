package app

import (
	"context"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/model"
)

// driver gives the engine of this host, and makes it where it is not there yet:
// the host is registered first.
func (h *Host) driver(ctx context.Context) (api.Engine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.engine == nil {
		o, err := h.writable(ctx)
		if err != nil {
			return nil, err
		}
		if err := h.register(ctx); err != nil {
			return nil, err
		}
		h.openStacks()
		h.engine = engine.New(engine.Config{
			Journal: heard{o.store, h.changed}, Stacks: h.stacks, Secrets: h,
			HostID: h.id, HomeID: o.store.HomeID(), StagingDir: h.stagingDir(),
			RunLog: h.home.RunLog, AttemptLog: h.home.AttemptLog, Logger: h.log,
		})
	}
	return &driver{engine: h.engine, host: h}, nil
}

// openStacks is called with the lock held.
func (h *Host) openStacks() *stacks {
	if h.stacks == nil {
		h.stacks = &stacks{host: h}
	}
	return h.stacks
}

// drives reports whether this host's engine drives a run.
func (h *Host) drives(runID string) bool {
	h.mu.Lock()
	eng := h.engine
	h.mu.Unlock()
	if eng == nil {
		return false
	}
	for _, id := range eng.Active() {
		if id == runID {
			return true
		}
	}
	return false
}

// onRun has a function called for each run that this host starts or resumes.
func (h *Host) onRun(f func(runID string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runHooks = append(h.runHooks, f)
}

// teeOf gives what copies the output of the program beside this host, or nil.
func (h *Host) teeOf() *tee {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tee
}

// driver is the engine as the API asks for it.
type driver struct {
	engine *engine.Engine
	host   *Host
}

func (d *driver) CreateRun(ctx context.Context, r api.NewRun) (api.Started, error) {
	s, err := d.engine.CreateRun(ctx, engine.NewRunRequest{
		ID: r.ID, Project: r.Project, Name: r.Name, Labels: r.Labels, Spec: r.Spec,
		Snapshot: r.Snapshot, Recipe: r.Recipe, Provenance: r.Provenance,
	})
	return d.started(s, err)
}

func (d *driver) ResumeRun(ctx context.Context, runID string, spec model.Spec, takeOver bool) (api.Started, error) {
	s, err := d.engine.ResumeRun(ctx, engine.ResumeRequest{Run: runID, Spec: spec, TakeOver: takeOver})
	return d.started(s, err)
}

func (d *driver) started(s engine.Started, err error) (api.Started, error) {
	if err != nil {
		return api.Started{}, err
	}
	d.host.mu.Lock()
	hooks := d.host.runHooks
	d.host.mu.Unlock()
	for _, f := range hooks {
		f(s.Run.ID)
	}
	return api.Started{Run: s.Run, Slots: s.Slots, Warnings: s.Warnings}, nil
}

func (d *driver) Paused(runID string) error { return d.engine.Paused(runID) }

func (d *driver) OpenSession(ctx context.Context, runID, session string) (api.Session, error) {
	s, err := d.engine.OpenSession(ctx, runID, session)
	if err != nil {
		return api.Session{}, err
	}
	return api.Session{RunLogPath: s.RunLogPath, Done: s.Done(), End: s.End}, nil
}

func (d *driver) NextJob(ctx context.Context, r api.JobRequest) (api.JobReply, error) {
	if t := d.host.teeOf(); t != nil {
		t.holds(r.Held)
	}
	reply, err := d.engine.NextJob(ctx, engine.JobRequest(r))
	if err != nil {
		return api.JobReply{}, err
	}
	out := api.JobReply{Stop: reply.Stop, Done: reply.Done, RunState: reply.RunState}
	for _, j := range reply.Start {
		job := api.Job{
			Run: j.Run, Step: j.Step, Function: j.Function, Attempt: j.Attempt, Number: j.Number,
			Incarnation: j.Incarnation, Dir: j.Dir, LogPath: j.LogPath,
			Timeout: j.Timeout, Secrets: j.Secrets, Outputs: j.Outputs,
		}
		for _, in := range j.Inputs {
			job.Inputs = append(job.Inputs, api.JobInput(in))
		}
		out.Start = append(out.Start, job)
		if t := d.host.teeOf(); t != nil {
			t.started(j.Attempt, j.LogPath)
		}
	}
	return out, nil
}

func (d *driver) CompleteJob(ctx context.Context, runID, session, attempt string) (string, string, error) {
	if t := d.host.teeOf(); t != nil {
		t.ended(attempt)
	}
	c, err := d.engine.CompleteJob(ctx, runID, session, attempt)
	return string(c.Outcome), c.Detail, err
}

func (d *driver) StepSecret(ctx context.Context, runID, attempt, name string) (map[string]string, error) {
	return d.engine.StepSecret(ctx, runID, attempt, name)
}

func (d *driver) RecordProvenance(ctx context.Context, runID string, p model.Provenance) error {
	return d.engine.SetProvenance(ctx, runID, p)
}

func (d *driver) Cancel(ctx context.Context, runID string) error {
	return d.engine.Cancel(ctx, runID)
}

func (d *driver) Wait(ctx context.Context, runID string) error {
	select {
	case <-d.engine.Done(runID):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
