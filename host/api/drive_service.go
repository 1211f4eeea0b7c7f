package api

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const (
	// heartbeat is the most time between two messages of a session.
	heartbeat = 5 * time.Second
	// pausePoll is how often a session looks whether its run waits for the
	// journal.
	pausePoll = 250 * time.Millisecond
)

// CreateRun validates a pipeline against the client's active stack and starts
// it.
func (s *Server) CreateRun(ctx context.Context, r *apiv1.CreateRunRequest) (*apiv1.CreateRunResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	spec, err := specFromProto(r.GetPipeline())
	if err != nil {
		return nil, err
	}
	id := r.GetRequestId()
	if id == "" {
		id = ulid.Make().String()
	} else if _, err := ulid.ParseStrict(id); err != nil {
		return nil, diag.Errorf(diag.Invalid, "request_id '%s' is not a ULID", id)
	}
	if r.GetName() != "" && !model.ValidName(r.GetName()) {
		return nil, diag.Errorf(diag.Invalid, "'%s' cannot be the name of a run", r.GetName()).WithDetail(model.NameRule)
	}
	_, stack, err := s.Registry.Active(ctx, client)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.Registry.Snapshot(ctx, stack)
	if err != nil {
		return nil, err
	}
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	started, err := engine.CreateRun(ctx, NewRun{
		ID: id, Project: client.Project.ID, Name: r.GetName(), Labels: r.GetLabels(), Spec: spec,
		Snapshot: snapshot, Recipe: recipeFromProto(r.GetRecipe()), Provenance: provenanceFromProto(r.GetProvenance()),
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateRunResponse{
		Run: runToProto(started.Run, true, pendingCount(spec)), Slots: uint32(started.Slots),
	}, nil
}

// pendingCount is how many steps a new run has; which of them run already is
// not worth a query.
func pendingCount(spec model.Spec) map[model.StepState]int {
	return map[model.StepState]int{model.StepPending: len(spec.Nodes)}
}

// ResumeRun acquires a run and goes on with it.
func (s *Server) ResumeRun(ctx context.Context, r *apiv1.ResumeRunRequest) (*apiv1.ResumeRunResponse, error) {
	run, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return nil, err
	}
	spec, err := specFromProto(r.GetPipeline())
	if err != nil {
		return nil, err
	}
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	started, err := engine.ResumeRun(ctx, run.ID, spec, r.GetTakeOver())
	if err != nil {
		return nil, err
	}
	p, err := s.run(ctx, started.Run)
	if err != nil {
		return nil, err
	}
	return &apiv1.ResumeRunResponse{Run: p, Slots: uint32(started.Slots)}, nil
}

// OpenSession binds a program to a run that this host owns, until the stream
// or the engine's work on the run ends.
func (s *Server) OpenSession(ctx context.Context, r *apiv1.OpenSessionRequest, send func(*apiv1.OpenSessionResponse) error) error {
	if r.GetSession() == "" {
		return diag.Errorf(diag.Invalid, "a session needs a name of the program's choice")
	}
	engine, err := s.Engine(ctx)
	if err != nil {
		return err
	}
	session, err := engine.OpenSession(ctx, r.GetRun(), r.GetSession())
	if err != nil {
		return err
	}
	defer session.End()
	look := time.NewTicker(pausePoll)
	defer look.Stop()
	var sent time.Time
	paused := ""
	for {
		now := pausedText(engine, r.GetRun())
		if now != paused || time.Since(sent) >= heartbeat {
			if err := send(&apiv1.OpenSessionResponse{RunLogPath: session.RunLogPath, Paused: now}); err != nil {
				return fmt.Errorf("send heartbeat: %w", err)
			}
			paused, sent = now, time.Now()
		}
		select {
		case <-session.Done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
}

// pausedText is why a run waits for its journal; empty where it does not.
func pausedText(e Engine, runID string) string {
	if err := e.Paused(runID); err != nil {
		return AsError(err).Error()
	}
	return ""
}

// NextJob waits up to 25 s for something to start or to stop.
func (s *Server) NextJob(ctx context.Context, r *apiv1.NextJobRequest) (*apiv1.NextJobResponse, error) {
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := engine.NextJob(ctx, JobRequest{
		Run: r.GetRun(), Session: r.GetSession(), Held: r.GetHeld(),
		FreeSlots: int(r.GetFreeSlots()), Wait: millis(r.GetWaitMs()),
	})
	if err != nil {
		return nil, err
	}
	out := &apiv1.NextJobResponse{Stop: reply.Stop, Done: reply.Done, RunState: string(reply.RunState)}
	for _, j := range reply.Start {
		out.Start = append(out.Start, jobToProto(j))
	}
	return out, nil
}

func jobToProto(j Job) *apiv1.Job {
	out := &apiv1.Job{
		Run: j.Run, Step: j.Step, Function: j.Function, Attempt: j.Attempt,
		AttemptNumber: uint32(j.Number), Incarnation: j.Incarnation, Dir: j.Dir, LogPath: j.LogPath,
		TimeoutMs: j.Timeout.Milliseconds(), Secrets: j.Secrets,
	}
	for _, in := range j.Inputs {
		out.Inputs = append(out.Inputs, &apiv1.JobInput{
			Name: in.Name, Type: typeToProto(in.Type), Path: in.Path, Tree: in.Tree,
			Inline: in.Inline, Metadata: stringsOf(in.Metadata),
		})
	}
	for _, o := range j.Outputs {
		out.Outputs = append(out.Outputs, &stepv1.Output{Name: o.Name, Type: typeToProto(o.Type), Artifact: o.Artifact})
	}
	return out
}

// CompleteJob says that the attempt's result file stands.
func (s *Server) CompleteJob(ctx context.Context, r *apiv1.CompleteJobRequest) (*apiv1.CompleteJobResponse, error) {
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	outcome, detail, err := engine.CompleteJob(ctx, r.GetRun(), r.GetSession(), r.GetAttempt())
	if err != nil {
		return nil, err
	}
	return &apiv1.CompleteJobResponse{Outcome: outcome, Detail: detail}, nil
}

// GetStepSecret gives a secret that the attempt's step declared.
func (s *Server) GetStepSecret(ctx context.Context, r *apiv1.GetStepSecretRequest) (*apiv1.GetStepSecretResponse, error) {
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	values, err := engine.StepSecret(ctx, r.GetRun(), r.GetAttempt(), r.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.GetStepSecretResponse{Values: values}, nil
}

// RecordProvenance keeps what made a run.
func (s *Server) RecordProvenance(ctx context.Context, r *apiv1.RecordProvenanceRequest) (*apiv1.RecordProvenanceResponse, error) {
	engine, err := s.Engine(ctx)
	if err != nil {
		return nil, err
	}
	if err := engine.RecordProvenance(ctx, r.GetRun(), provenanceFromProto(r.GetProvenance())); err != nil {
		return nil, err
	}
	return &apiv1.RecordProvenanceResponse{}, nil
}
