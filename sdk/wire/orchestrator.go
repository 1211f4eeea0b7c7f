package wire

import (
	"context"
	"time"

	"google.golang.org/grpc"

	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// PlannedStep is what an orchestrator needs to know to judge a step.
type PlannedStep struct {
	Name string
	// Execution is "attached" or "detached".
	Execution string
	// Timeout is 0 for none.
	Timeout   time.Duration
	Resources Resources
}

// Resources that a step asks for; 0 for none.
type Resources struct {
	CPUs        float64
	MemoryBytes int64
	GPUs        int
}

// StepDiagnostic is a finding about a step; an empty step is the plan.
type StepDiagnostic struct {
	Step       string
	Diagnostic diag.Diagnostic
}

// OrchestratorClient calls an orchestrator instance. Errors are as those of
// Client. Safe for concurrent use.
type OrchestratorClient struct {
	rpc      orchestratorv1.OrchestratorServiceClient
	instance string
	t        timeouts
}

// NewOrchestratorClient makes a client of an instance on a connection.
func NewOrchestratorClient(cc grpc.ClientConnInterface, instance string) *OrchestratorClient {
	return &OrchestratorClient{
		rpc: orchestratorv1.NewOrchestratorServiceClient(cc), instance: instance, t: defaultTimeouts(),
	}
}

// CanRun asks what of a plan cannot be honoured.
func (c *OrchestratorClient) CanRun(ctx context.Context, steps []PlannedStep) ([]StepDiagnostic, error) {
	req := &orchestratorv1.CanRunRequest{Instance: c.instance}
	for _, s := range steps {
		req.Steps = append(req.Steps, PlannedStepToProto(s))
	}
	res, err := call(ctx, c.t.check, "CanRun", c.rpc.CanRun, req)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{"": true}
	for _, s := range steps {
		known[s.Name] = true
	}
	if n := len(res.GetDiagnostics()); n > MaxDiagnostics {
		return nil, broken("CanRun", "%d diagnostics", n)
	}
	var out []StepDiagnostic
	for _, p := range res.GetDiagnostics() {
		d := StepDiagnosticFromProto(p)
		if !known[d.Step] {
			return nil, broken("CanRun", "a finding about the step %q, which is not in the plan", clean(d.Step, 80))
		}
		out = append(out, d)
	}
	return out, nil
}

// PlannedStepToProto converts a step.
func PlannedStepToProto(s PlannedStep) *orchestratorv1.PlannedStep {
	return &orchestratorv1.PlannedStep{
		Name: s.Name, Execution: s.Execution, TimeoutMs: ceilMillis(s.Timeout),
		Resources: &orchestratorv1.Resources{
			Cpus: s.Resources.CPUs, MemoryBytes: s.Resources.MemoryBytes, Gpus: uint32(max(0, s.Resources.GPUs)),
		},
	}
}

// ceilMillis rounds up, so that a short timeout is not none.
func ceilMillis(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// PlannedStepFromProto converts a step.
func PlannedStepFromProto(p *orchestratorv1.PlannedStep) PlannedStep {
	r := p.GetResources()
	return PlannedStep{
		Name: p.GetName(), Execution: p.GetExecution(), Timeout: time.Duration(p.GetTimeoutMs()) * time.Millisecond,
		Resources: Resources{CPUs: r.GetCpus(), MemoryBytes: r.GetMemoryBytes(), GPUs: int(r.GetGpus())},
	}
}

// StepDiagnosticToProto converts a finding.
func StepDiagnosticToProto(d StepDiagnostic) *orchestratorv1.StepDiagnostic {
	return &orchestratorv1.StepDiagnostic{Step: d.Step, Diagnostic: DiagnosticToProto(d.Diagnostic)}
}

// StepDiagnosticFromProto converts a finding.
func StepDiagnosticFromProto(p *orchestratorv1.StepDiagnostic) StepDiagnostic {
	return StepDiagnostic{Step: p.GetStep(), Diagnostic: DiagnosticFromProto(p.GetDiagnostic())}
}
