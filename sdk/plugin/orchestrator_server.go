package plugin

import (
	"context"

	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// orchestratorServer serves the orchestrators among the instances.
type orchestratorServer struct {
	orchestratorv1.UnimplementedOrchestratorServiceServer
	instances *instances
}

// CanRun judges a plan.
func (s *orchestratorServer) CanRun(ctx context.Context, req *orchestratorv1.CanRunRequest) (*orchestratorv1.CanRunResponse, error) {
	i, ctx, end, err := s.instances.begin(ctx, req.GetInstance())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	o, ok := i.impl.(Orchestrator)
	if !ok {
		return nil, wire.ToStatus(refused("the instance %q is no orchestrator", req.GetInstance()))
	}
	var r CanRunRequest
	for _, p := range req.GetSteps() {
		st := wire.PlannedStepFromProto(p)
		r.Steps = append(r.Steps, PlannedStep{
			Name: st.Name, Execution: Execution(st.Execution), Timeout: st.Timeout, Resources: Resources(st.Resources),
		})
	}
	var found []StepFinding
	err = guard(ctx, i.log, "CanRun", func() (err error) {
		found, err = o.CanRun(ctx, r)
		return err
	})
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	res := &orchestratorv1.CanRunResponse{}
	for _, f := range found {
		res.Diagnostics = append(res.Diagnostics, wire.StepDiagnosticToProto(wire.StepDiagnostic{Step: f.Step, Diagnostic: f.Finding}))
	}
	return res, nil
}
