package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// The sizes of a page of a list.
const (
	defaultPage = 50
	maxPage     = 1000
)

func pageSize(limit uint32) int {
	switch {
	case limit == 0:
		return defaultPage
	case limit > maxPage:
		return maxPage
	}
	return int(limit)
}

// findRun finds the run of a reference for a client.
func (s *Server) findRun(ctx context.Context, c *apiv1.ClientContext, ref string) (model.Run, error) {
	client, err := s.client(c)
	if err != nil {
		return model.Run{}, err
	}
	run, err := s.Runs.FindRun(ctx, client.Project.ID, ref)
	return run, named(err, "run", ref, "'cairn run list' shows the runs of this project")
}

// runs converts runs with the counts of their steps.
func (s *Server) runs(ctx context.Context, list []model.Run) ([]*apiv1.Run, error) {
	ids := make([]string, 0, len(list))
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	counts, err := s.Runs.StepCounts(ctx, ids)
	if err != nil {
		return nil, err
	}
	alive := s.aliveOnce()
	out := make([]*apiv1.Run, 0, len(list))
	for _, r := range list {
		out = append(out, runToProto(r, r.State.Final() || alive(r.Owner), counts[r.ID]))
	}
	return out, nil
}

// aliveOnce looks at each host's lock at most once.
func (s *Server) aliveOnce() func(host string) bool {
	known := map[string]bool{}
	return func(host string) bool {
		a, ok := known[host]
		if !ok {
			a = s.Home.Alive(host)
			known[host] = a
		}
		return a
	}
}

func (s *Server) run(ctx context.Context, r model.Run) (*apiv1.Run, error) {
	list, err := s.runs(ctx, []model.Run{r})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ListRuns lists runs, newest first. Interrupted ones are derived, so a list of
// them looks through the running ones, of which there are few.
func (s *Server) ListRuns(ctx context.Context, r *apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	f := model.RunFilter{
		Project: client.Project.ID, Pipeline: r.GetPipeline(), State: model.RunState(r.GetState()),
		Stack: r.GetStack(), Limit: pageSize(r.GetLimit()), Page: r.GetPage(),
	}
	if r.GetAllProjects() {
		f.Project = ""
	}
	switch f.State {
	case "", model.RunRunning, model.RunCompleted, model.RunFailed, model.RunCancelled:
	case Interrupted:
		f.State = model.RunRunning
	default:
		states := []string{"running", Interrupted, "completed", "failed", "cancelled"}
		return nil, diag.Errorf(diag.Invalid, "no run state '%s'%s", r.GetState(), diag.DidYouMean(r.GetState(), states)).
			WithHint("the states are running, interrupted, completed, failed and cancelled")
	}
	list, next, err := s.Runs.ListRuns(ctx, f)
	if err != nil {
		return nil, err
	}
	all, err := s.runs(ctx, list)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListRunsResponse{NextPage: next}
	for _, run := range all {
		if r.GetState() == "" || run.GetState() == r.GetState() {
			out.Runs = append(out.Runs, run)
		}
	}
	return out, nil
}

// GetRun gives a run with its steps and what made it.
func (s *Server) GetRun(ctx context.Context, r *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
	found, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return nil, err
	}
	rec, err := s.Runs.LoadRun(ctx, found.ID)
	if err != nil {
		return nil, named(err, "run", r.GetRun(), "it was deleted meanwhile")
	}
	counts := map[model.StepState]int{}
	steps := make(map[string]model.StepRun, len(rec.Steps))
	for _, st := range rec.Steps {
		counts[st.State]++
		steps[st.Name] = st
	}
	alive := rec.Run.State.Final() || s.Home.Alive(rec.Run.Owner)
	out := &apiv1.GetRunResponse{
		Run:        runToProto(rec.Run, alive, counts),
		Provenance: provenanceToProto(rec.Provenance), Recipe: recipeToProto(rec.Recipe),
		Parameters: parametersToProto(rec.Spec.Parameters), Stack: snapshotToProto(rec.Snapshot, s.Home.Dir()),
	}
	for _, n := range rec.Spec.Nodes {
		out.Steps = append(out.Steps, stepToProto(n, steps[n.Name], rec))
	}
	resumable := !alive || rec.Run.State == model.RunFailed || rec.Run.State == model.RunCancelled
	if resumable {
		out.ResumeCommand = "cairn run resume " + rec.Run.Name
	}
	return out, nil
}

// CancelRun cancels a run: this host does it where it owns the run or nobody
// does, else the owner is asked to.
func (s *Server) CancelRun(ctx context.Context, r *apiv1.CancelRunRequest) (*apiv1.CancelRunResponse, error) {
	run, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return nil, err
	}
	if run.State.Final() {
		return nil, diag.Errorf(diag.Refused, "run '%s' has ended already: %s", run.Name, run.State).
			WithHint("'cairn run describe %s' shows how", run.Name)
	}
	if err := s.cancel(ctx, run); err != nil {
		return nil, err
	}
	if run, err = s.Runs.FindRun(ctx, run.Project, run.ID); err != nil {
		return nil, err
	}
	p, err := s.run(ctx, run)
	if err != nil {
		return nil, err
	}
	return &apiv1.CancelRunResponse{Run: p}, nil
}

// cancel has the owner of a run cancel it, or acquires and cancels it where no
// living host owns it.
func (s *Server) cancel(ctx context.Context, run model.Run) error {
	// An owner that dies between the two looks leaves an intent, which whoever
	// acquires the run obeys.
	ours := s.drives(run.ID)
	if !ours && s.Home.Alive(run.Owner) {
		return s.Runs.AskCancel(ctx, run.ID, run.Owner, ulid.Make().String())
	}
	engine, err := s.Engine(ctx)
	if err != nil {
		return err
	}
	err = engine.Cancel(ctx, run.ID)
	if errors.Is(err, model.ErrOwned) {
		return s.Runs.AskCancel(ctx, run.ID, run.Owner, ulid.Make().String())
	}
	if err != nil || ours {
		return err
	}
	// A run that was acquired to cancel it is cancelled before this host may end.
	return engine.Wait(ctx, run.ID)
}

// drives reports whether this host's engine drives a run.
func (s *Server) drives(runID string) bool { return s.Drives != nil && s.Drives(runID) }

// DeleteRun deletes rows and logs. Artifact versions stay.
func (s *Server) DeleteRun(ctx context.Context, r *apiv1.DeleteRunRequest) (*apiv1.DeleteRunResponse, error) {
	run, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return nil, err
	}
	if run.State == model.RunRunning {
		e := diag.Errorf(diag.Refused, "run '%s' has not ended", run.Name).
			WithHint("cancel it first: cairn run cancel %s", run.Name)
		if !s.Home.Alive(run.Owner) {
			e.WithDetail("it was interrupted and can be resumed")
		}
		return nil, e
	}
	if err := s.Runs.DeleteRun(ctx, run.ID); err != nil {
		return nil, named(err, "run", r.GetRun(), "it was deleted meanwhile")
	}
	if err := s.Home.RemoveLogs(run.ID); err != nil {
		return nil, fmt.Errorf("remove the logs of run '%s': %w", run.Name, err)
	}
	return &apiv1.DeleteRunResponse{}, nil
}

// ListPipelines lists the pipelines that a project has runs of.
func (s *Server) ListPipelines(ctx context.Context, r *apiv1.ListPipelinesRequest) (*apiv1.ListPipelinesResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	list, err := s.Runs.Pipelines(ctx, client.Project.ID)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListPipelinesResponse{}
	for _, p := range list {
		latest, err := s.run(ctx, p.Latest)
		if err != nil {
			return nil, err
		}
		out.Pipelines = append(out.Pipelines, &apiv1.PipelineSummary{Name: p.Name, Runs: uint32(p.Runs), Latest: latest})
	}
	return out, nil
}
