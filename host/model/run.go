package model

import (
	"encoding/json"
	"time"
)

// RunState is the stored state of a run. "Interrupted" is derived when a run is
// read: running, and its owner's lock is free.
type RunState string

// The run states; all but running are final, and failed and cancelled can be
// resumed.
const (
	RunRunning   RunState = "running"
	RunCompleted RunState = "completed"
	RunFailed    RunState = "failed"
	RunCancelled RunState = "cancelled"
)

// Final reports whether the engine is done with the run.
func (s RunState) Final() bool { return s != RunRunning }

// StepState is the stored state of a step run.
type StepState string

// The step states; all but pending and running are final.
const (
	StepPending   StepState = "pending"
	StepRunning   StepState = "running"
	StepCompleted StepState = "completed"
	StepFailed    StepState = "failed"
	StepSkipped   StepState = "skipped"
	StepCancelled StepState = "cancelled"
)

// Final reports whether the engine is done with the step.
func (s StepState) Final() bool { return s != StepPending && s != StepRunning }

// AttemptState is the stored state of an attempt.
type AttemptState string

// The attempt states; all but reserved and running are final.
const (
	AttemptReserved   AttemptState = "reserved"
	AttemptRunning    AttemptState = "running"
	AttemptCompleted  AttemptState = "completed"
	AttemptFailed     AttemptState = "failed"
	AttemptLost       AttemptState = "lost"
	AttemptTimedOut   AttemptState = "timed_out"
	AttemptCancelled  AttemptState = "cancelled"
	AttemptSuperseded AttemptState = "superseded"
)

// Final reports whether the attempt has ended.
func (s AttemptState) Final() bool { return s != AttemptReserved && s != AttemptRunning }

// FailureMode says what a failed step does to the others.
type FailureMode string

// The failure modes.
const (
	FailFast      FailureMode = "fail_fast"
	StopOnFailure FailureMode = "stop_on_failure"
	Continue      FailureMode = "continue"
)

// Spec is a pipeline as it was traced. Its digest is that of its JSON.
type Spec struct {
	Pipeline    string               `json:"pipeline"`
	Nodes       []Node               `json:"nodes"`
	Parameters  map[string]Parameter `json:"parameters,omitempty"`
	FailureMode FailureMode          `json:"failure_mode"`
}

// Parameter is a resolved parameter of a run.
type Parameter struct {
	Value  json.RawMessage `json:"value,omitempty"`
	Secret bool            `json:"secret,omitempty"`
}

// Node is a node of the graph. Kind decides which of its parts is set; map and
// condition nodes will be further kinds.
type Node struct {
	Name   string   `json:"name"`
	Kind   NodeKind `json:"kind"`
	Inputs []Input  `json:"inputs,omitempty"`
	After  []string `json:"after,omitempty"`
	Step   *Step    `json:"step,omitempty"`
}

// NodeKind is what a node is.
type NodeKind string

// NodeStep is a node that runs a function.
const NodeStep NodeKind = "step"

// Step is a function of the pipeline program.
type Step struct {
	Function  string        `json:"function"`
	Outputs   []Output      `json:"outputs,omitempty"`
	Retry     RetryPolicy   `json:"retry"`
	Timeout   time.Duration `json:"timeout,omitempty"`
	Secrets   []string      `json:"secrets,omitempty"`
	Execution Execution     `json:"execution,omitempty"`
	CodeKey   string        `json:"code_key,omitempty"`
}

// Execution says where a step runs; empty is as the orchestrator prefers.
type Execution string

// The executions.
const (
	Attached Execution = "attached"
	Detached Execution = "detached"
)

// RetryPolicy says how often, and after what wait, a failed attempt is followed
// by another.
type RetryPolicy struct {
	MaxRetries     int           `json:"max_retries,omitempty"`
	InitialBackoff time.Duration `json:"initial_backoff,omitempty"`
	MaxBackoff     time.Duration `json:"max_backoff,omitempty"`
}

// Input is a named input of a node: an output of another node, or a literal.
type Input struct {
	Name    string          `json:"name"`
	Type    DataType        `json:"type"`
	Node    string          `json:"node,omitempty"`
	Output  string          `json:"output,omitempty"`
	Literal json.RawMessage `json:"literal,omitempty"`
}

// Output is a named output of a step.
type Output struct {
	Name     string   `json:"name"`
	Type     DataType `json:"type"`
	Artifact string   `json:"artifact,omitempty"`
}

// DataType is a media type and, optionally, the type in the user's language.
type DataType struct {
	MediaType    string `json:"media_type"`
	LanguageType string `json:"language_type,omitempty"`
}

// Run is one execution of a pipeline on a stack.
type Run struct {
	ID       string `json:"id"`
	Project  string `json:"project"`
	Pipeline string `json:"pipeline"`
	// Name is PIPELINE-NUMBER unless the user gave one; unique in the project.
	Name string `json:"name"`
	// Number counts the pipeline's runs in the project from 1.
	Number int      `json:"number"`
	State  RunState `json:"state"`
	// Owner is the id of the host that acquired the run last.
	Owner string `json:"owner"`
	// Epoch counts acquirings from 1; a write of an older epoch is fenced.
	Epoch int64 `json:"epoch"`
	// Seq is the number of the run's newest event.
	Seq         int64             `json:"seq"`
	Stack       string            `json:"stack"`
	Labels      map[string]string `json:"labels,omitempty"`
	SpecDigest  string            `json:"spec_digest"`
	ResumedFrom string            `json:"resumed_from,omitempty"`
	Error       string            `json:"error,omitempty"`
	CreatedAt   time.Time         `json:"created_at"`
	EndedAt     time.Time         `json:"ended_at,omitzero"`
	// CancelRequested: a cancel intent stands and is not done yet.
	CancelRequested bool `json:"cancel_requested,omitempty"`
}

// Recipe says how to start the pipeline program again.
type Recipe struct {
	Argv       []string          `json:"argv,omitempty"`
	WorkingDir string            `json:"working_dir,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
	GoPackage  string            `json:"go_package,omitempty"`
	CodeDigest string            `json:"code_digest,omitempty"`
}

// Provenance is what made a run.
type Provenance struct {
	GitCommit      string            `json:"git_commit,omitempty"`
	GitBranch      string            `json:"git_branch,omitempty"`
	GitDirty       bool              `json:"git_dirty,omitempty"`
	GitPatch       string            `json:"git_patch,omitempty"`
	GitPatchDigest string            `json:"git_patch_digest,omitempty"`
	User           string            `json:"user,omitempty"`
	Host           string            `json:"host,omitempty"`
	CommandLine    []string          `json:"command_line,omitempty"`
	Versions       map[string]string `json:"versions,omitempty"`
}

// StepRun is one execution of a step in a run.
type StepRun struct {
	RunID string    `json:"run_id"`
	Name  string    `json:"name"`
	State StepState `json:"state"`
	// Cached: the outputs are another run's.
	Cached bool `json:"cached,omitempty"`
	// Attempt is the id of the current attempt; empty before the first.
	Attempt string `json:"attempt,omitempty"`
	// Failures and Losses count ended attempts since the run was last resumed:
	// those that use up the user's retries, and those that do not.
	Failures   int                        `json:"failures,omitempty"`
	Losses     int                        `json:"losses,omitempty"`
	Error      string                     `json:"error,omitempty"`
	Hint       string                     `json:"hint,omitempty"`
	Metrics    Metrics                    `json:"metrics,omitempty"`
	Metadata   map[string]json.RawMessage `json:"metadata,omitempty"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	StartedAt  time.Time                  `json:"started_at,omitzero"`
	EndedAt    time.Time                  `json:"ended_at,omitzero"`
}

// Attempt is one try at a step run.
type Attempt struct {
	ID     string       `json:"id"`
	RunID  string       `json:"run_id"`
	Step   string       `json:"step"`
	Number int          `json:"number"`
	State  AttemptState `json:"state"`
	// Epoch in which it was reserved.
	Epoch     int64     `json:"epoch"`
	Execution Execution `json:"execution"`
	// Incarnation that was published, or that runs, where it is known.
	Incarnation string `json:"incarnation,omitempty"`
	// NotBefore is when a retry may start.
	NotBefore time.Time `json:"not_before,omitzero"`
	Error     string    `json:"error,omitempty"`
	Trace     string    `json:"trace,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Content is stored bytes, by digest.
type Content struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	// Tree: the bytes are a manifest of files, each a content of its own.
	Tree bool `json:"tree,omitempty"`
}

// Location is where a content is stored.
type Location struct {
	Digest  string `json:"digest"`
	StoreID string `json:"store_id"`
	Key     string `json:"key"`
}

// ArtifactVersion is one stored value of a named output.
type ArtifactVersion struct {
	ID      string   `json:"id"`
	Project string   `json:"project"`
	Name    string   `json:"name"`
	Version int      `json:"version"`
	Digest  string   `json:"digest"`
	Size    int64    `json:"size"`
	Tree    bool     `json:"tree,omitempty"`
	Type    DataType `json:"type"`
	// Producer. RunName is empty where the run was deleted.
	RunID     string                     `json:"run_id"`
	RunName   string                     `json:"run_name,omitempty"`
	Step      string                     `json:"step"`
	Output    string                     `json:"output"`
	Metadata  map[string]json.RawMessage `json:"metadata,omitempty"`
	Inline    []byte                     `json:"inline,omitempty"`
	CreatedAt time.Time                  `json:"created_at"`
}

// StepInput is what an input of a step run was bound to when it was published.
type StepInput struct {
	Step  string `json:"step"`
	Input string `json:"input"`
	// ArtifactID is the version's id; empty for a literal.
	ArtifactID string `json:"artifact_id,omitempty"`
}

// Event is one thing that happened to a run; rows of the commit that did it.
type Event struct {
	RunID   string          `json:"run_id"`
	Seq     int64           `json:"seq"`
	At      time.Time       `json:"at"`
	Kind    EventKind       `json:"kind"`
	Step    string          `json:"step,omitempty"`
	Attempt string          `json:"attempt,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// EventKind is what happened.
type EventKind string

// The kinds of event. One event is written for each change of the same name.
const (
	EventRunCreated      EventKind = "run_created"
	EventRunAcquired     EventKind = "run_acquired"
	EventRunEnded        EventKind = "run_ended"
	EventCancelAsked     EventKind = "cancel_asked"
	EventAttemptReserved EventKind = "attempt_reserved"
	EventAttemptStarted  EventKind = "attempt_started"
	EventAttemptEnded    EventKind = "attempt_ended"
	EventStepPublished   EventKind = "step_completed"
	EventStepEnded       EventKind = "step_ended"
	EventStepReset       EventKind = "step_reset"
	EventProvenanceSet   EventKind = "provenance_set"
)

// Host is a process that holds, or held, a lock on the home.
type Host struct {
	ID        string    `json:"id"`
	PID       int       `json:"pid"`
	Kind      string    `json:"kind"`
	Version   string    `json:"version"`
	Socket    string    `json:"socket,omitempty"`
	StartedAt time.Time `json:"started_at"`
}
