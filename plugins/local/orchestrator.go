package main

import (
	"context"
	"runtime"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
)

type orchestratorConfig struct {
	MaxParallel int `json:"max_parallel" doc:"Steps that run at once; where it is not set, as many as the machine has CPUs." min:"1" example:"4"`
}

// orchestrator lets the pipeline program run its steps itself.
type orchestrator struct{ maxParallel int }

var _ plugin.Orchestrator = (*orchestrator)(nil)

func openOrchestrator(_ context.Context, cfg orchestratorConfig, _ plugin.Instance) (*orchestrator, error) {
	if cfg.MaxParallel == 0 {
		// Not a default of the schema, which is the same on every machine.
		cfg.MaxParallel = runtime.NumCPU()
	}
	return &orchestrator{maxParallel: cfg.MaxParallel}, nil
}

// Facts: steps run attached, and end with the program.
func (o *orchestrator) Facts() plugin.OrchestratorFacts {
	return plugin.OrchestratorFacts{Attached: true, MaxParallel: o.maxParallel}
}

// CanRun refuses what the program cannot do for a step.
func (o *orchestrator) CanRun(_ context.Context, req plugin.CanRunRequest) ([]plugin.StepFinding, error) {
	var found []plugin.StepFinding
	for _, s := range req.Steps {
		if s.Execution == plugin.Detached {
			found = append(found, finding(s.Name, "the local orchestrator runs steps inside the pipeline program, not detached",
				"let the step run attached, or choose a stack with another orchestrator"))
		}
		if s.Resources != (plugin.Resources{}) {
			found = append(found, finding(s.Name, "the local orchestrator cannot reserve CPUs, memory or GPUs for a step",
				"drop the step's resources, or choose a stack with another orchestrator"))
		}
	}
	return found, nil
}

func finding(step, summary, hint string) plugin.StepFinding {
	return plugin.StepFinding{Step: step, Finding: diag.Diagnostic{
		Severity: diag.SeverityError, Fault: diag.FaultUser, Summary: summary, Hint: hint,
	}}
}
