package plugin

import (
	"context"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// OrchestratorType is the component type of orchestrators.
const OrchestratorType = "orchestrator"

// Orchestrator runs the steps of pipelines. The host owns the graph: caching,
// retries, timeouts and cancellation are no orchestrator's business. Methods are
// called side by side.
//
// What an orchestrator can do beside: Opener, Checker, Closer.
type Orchestrator interface {
	// Facts says what it is able to do; they do not change.
	Facts() OrchestratorFacts
	// CanRun gives what of a plan cannot be honoured. Nothing is started.
	CanRun(ctx context.Context, req CanRunRequest) ([]StepFinding, error)
}

// OrchestratorFacts are what an orchestrator is able to do.
type OrchestratorFacts struct {
	// Attached: steps may run inside the pipeline program.
	Attached bool
	// MaxParallel is how many steps run at once; 0 for no limit of its own.
	MaxParallel int
	// JobsOutliveHost: jobs live on when the host ends.
	JobsOutliveHost bool
}

// CanRunRequest asks for a CanRun.
type CanRunRequest struct{ Steps []PlannedStep }

// Execution says where a step runs.
type Execution string

// The executions.
const (
	// Attached is inside the pipeline program.
	Attached Execution = "attached"
	// Detached is wherever the orchestrator starts it.
	Detached Execution = "detached"
)

// PlannedStep is what there is to know of a step before it runs.
type PlannedStep struct {
	Name      string
	Execution Execution
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

// StepFinding is something that cannot be honoured. An empty Step is the plan as
// a whole.
type StepFinding struct {
	Step    string
	Finding diag.Diagnostic
}

// OrchestratorFlavor is a flavor of orchestrator. open makes an orchestrator
// from a configuration that passed the schema of C, with the values of its
// secrets; it makes no network call. Return the orchestrator's own type, not the
// interface, so that its optional methods are known beforehand.
func OrchestratorFlavor[C any, O Orchestrator](
	name, summary string, open func(ctx context.Context, cfg C, in Instance) (O, error), opts ...Option,
) Flavor {
	f := newFlavor(OrchestratorType, name, summary, open, opts)
	var zero O
	f.features = featuresOf(any(zero))
	return f
}
