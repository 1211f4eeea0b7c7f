package engine

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Config is what an Engine is made of. Journal, Stacks, HostID, HomeID,
// StagingDir, RunLog and AttemptLog are required; the rest has defaults.
type Config struct {
	Journal Journal
	Stacks  Stacks
	// Secrets may be nil; then no step can declare a secret.
	Secrets Secrets
	// HostID is the id whose lock this host holds.
	HostID string
	// HomeID prefixes every key that is stored.
	HomeID string
	// StagingDir holds attempts' working directories where the artifact store
	// has no staging directory of its own. It is made when it is first needed.
	StagingDir string
	// RunLog and AttemptLog give the absolute paths of log files.
	RunLog     func(runID string) string
	AttemptLog func(runID, attemptID string) string
	// Logger defaults to one that discards.
	Logger *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
	// Random gives numbers in [0,1) for the jitter of back-off; defaults to
	// math/rand.
	Random func() float64
	// MaxLosses is how many lost attempts end a step as failed; 0 is 5.
	MaxLosses int
	// StopGrace is how long a step that was told to stop may take to end before
	// its attempt is fenced; 0 is 10 s.
	StopGrace time.Duration
	// SessionGrace is how long a lost session may be taken up again before the
	// run is interrupted; 0 is 3 s.
	SessionGrace time.Duration
	// BusyRetry is the pause before a journal that could not be written is tried
	// again; 0 is 2 s.
	BusyRetry time.Duration
	// IntentPoll is how often the journal is asked for cancel intents while runs
	// are active; 0 is 200 ms.
	IntentPoll time.Duration
	// ReadOnlyFiles says that file modes protect stored files from steps, so
	// that inputs may be views. Nil asks the system: false for root.
	ReadOnlyFiles *bool

	// lazyDelay is how long a change that needs no commit of its own may wait
	// for one to ride with.
	lazyDelay time.Duration
}

// NewRunRequest asks for a run.
type NewRunRequest struct {
	// ID of the run to make, a ULID; a repeated call with the same one answers
	// with the same run.
	ID      string
	Project string
	// Name is empty for PIPELINE-N.
	Name       string
	Labels     map[string]string
	Spec       model.Spec
	Snapshot   model.StackSnapshot
	Recipe     model.Recipe
	Provenance model.Provenance
	// ResumedFrom is the id of the run that this one was made from, or empty.
	ResumedFrom string
}

// ResumeRequest asks to go on with a run.
type ResumeRequest struct {
	// Run is the run's id.
	Run string
	// Spec as the program traced it now; it must be that of the run.
	Spec model.Spec
	// TakeOver takes the run from an owner that lives.
	TakeOver bool
}

// Started is the answer to CreateRun and ResumeRun.
type Started struct {
	Run model.Run
	// Slots is how many steps may run at once in the program; 0 is no limit.
	Slots int
	// Warnings are what the stack remarked on the plan.
	Warnings diag.List
}

// JobRequest is one turn of a program's long poll.
type JobRequest struct {
	Run, Session string
	// Held are the attempts that the program holds: started, and not answered by
	// CompleteJob.
	Held []string
	// FreeSlots is how many jobs it could start now.
	FreeSlots int
	// Wait at most this long for something to do; 0 and more than 25 s are 25 s.
	Wait time.Duration
}

// JobReply says what to start and what to stop.
type JobReply struct {
	Start []Job
	// Stop are held attempts whose contexts are to be cancelled.
	Stop []string
	// Done: the run is final, with this state; nothing comes any more.
	Done     bool
	RunState model.RunState
}

// Job is one attempt of a step, for the program to run.
type Job struct {
	Run, Step, Function string
	Attempt             string
	Number              int
	Incarnation         string
	// Dir is the attempt's own directory; the program leaves outputs and, last
	// and by rename, "result" in it.
	Dir     string
	LogPath string
	Inputs  []JobInput
	// Timeout is 0 for none.
	Timeout time.Duration
	Secrets []string
	Outputs []model.Output
}

// JobInput is one bound input of a job: a path, or a value inline.
type JobInput struct {
	Name string
	Type model.DataType
	// Path of a read-only file or tree; empty where the value is inline.
	Path     string
	Tree     bool
	Inline   []byte
	Metadata map[string]json.RawMessage
}

// Outcome is what became of a completed attempt.
type Outcome string

// The outcomes.
const (
	// OutcomePublished: the attempt's outputs are the step's.
	OutcomePublished Outcome = "published"
	// OutcomeFailed: the attempt failed; the step may be tried again.
	OutcomeFailed Outcome = "failed"
	// OutcomeSuperseded: the attempt was ended before its result came.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeFenced: another engine has acquired the run.
	OutcomeFenced Outcome = "fenced"
)

// Completion is the answer to CompleteJob.
type Completion struct {
	Outcome Outcome
	// Detail says why, for any outcome but published.
	Detail string
}

// End is how this engine's work on a run ended.
type End struct {
	// State is the run's: final, or running where the run was interrupted or
	// fenced.
	State model.RunState
	// Error is the run's own error, one line, where it failed.
	Error string
	// Err is set where the engine let go of a run that is not final: a
	// *diag.Error of code Interrupted.
	Err error
}
