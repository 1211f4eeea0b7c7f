package model

import (
	"encoding/json"
	"time"
)

// Change is one thing that an engine does to a run that it owns. A journal
// applies a list of changes in one commit: all or none, in their order, and
// only while the engine's epoch is that of the run. Applying a change of the
// same ID again does nothing and succeeds.
type Change struct {
	// ID is a ULID made by the engine.
	ID string
	At time.Time
	Op Op
}

// Op is one of the operations below. Each writes one event.
type Op interface{ op() }

// ReserveAttempt makes the next attempt of a step, and makes the step running.
// It supersedes (fences) an attempt of the step that is still live. Refused
// where the step is final or its current attempt completed.
type ReserveAttempt struct {
	Attempt Attempt
}

// StartAttempt: an attempt was handed out and runs.
type StartAttempt struct {
	Step, Attempt, Incarnation string
}

// EndAttempt ends a live attempt without publication: failed, lost, timed out
// or cancelled. It counts a failure or, for lost, a loss.
type EndAttempt struct {
	Step, Attempt string
	State         AttemptState
	Error         string
	Trace         string
}

// PublishStep is the publication: the attempt completed, the step completed,
// its outputs become artifact versions. Refused unless the attempt is the
// step's current one and the step is running.
type PublishStep struct {
	Step, Attempt, Incarnation string
	Outputs                    []PublishedOutput
	Inputs                     []StepInput
	Metrics                    Metrics
	Metadata                   map[string]json.RawMessage
	Parameters                 map[string]json.RawMessage
	StartedAt                  time.Time
}

// PublishedOutput is one output of a PublishStep. The journal counts its
// version within (project, artifact name).
type PublishedOutput struct {
	// ID of the artifact version, a ULID made by the engine.
	ID       string
	Output   string
	Artifact string
	Type     DataType
	Content  Content
	// Locations of the content and, for a tree, of each of its files.
	Locations []Location
	// Files are the contents of a tree's files.
	Files    []Content
	Metadata map[string]json.RawMessage
	// Inline is the value itself where it is small.
	Inline []byte
}

// EndStep ends a step that publishes nothing: failed, skipped or cancelled. Its
// live attempt, if it has one, must have been ended before.
type EndStep struct {
	Step  string
	State StepState
	Error string
	Hint  string
}

// ResetStep makes a failed, cancelled or skipped step pending again, with a
// fresh retry budget. Part of a resume.
type ResetStep struct {
	Step string
}

// EndRun seals the run. Refused while a step is not final. It also does away
// with the run's cancel intent.
type EndRun struct {
	State RunState
	Error string
}

// SetProvenance records what made the run; it may come after the run's start.
type SetProvenance struct {
	Provenance Provenance
}

func (ReserveAttempt) op() {}
func (StartAttempt) op()   {}
func (EndAttempt) op()     {}
func (PublishStep) op()    {}
func (EndStep) op()        {}
func (ResetStep) op()      {}
func (EndRun) op()         {}
func (SetProvenance) op()  {}

// NewRun is what C0 writes: a run with its steps and first attempts.
type NewRun struct {
	// Run with ID, Project, Pipeline, Owner, Stack, Labels and times set. Name
	// may be empty; the journal sets Name, Number, Epoch 1, state running.
	Run        Run
	Spec       Spec
	Snapshot   StackSnapshot
	Recipe     Recipe
	Provenance Provenance
	// Reserve are the attempts of the root steps.
	Reserve []Change
}

// RunRecord is all that an engine needs to go on with a run.
type RunRecord struct {
	Run        Run
	Spec       Spec
	Snapshot   StackSnapshot
	Recipe     Recipe
	Provenance Provenance
	// Steps in the order of the spec's nodes.
	Steps []StepRun
	// Attempts by step, in order of number.
	Attempts map[string][]Attempt
	// Outputs of completed steps, by step, in order of output.
	Outputs map[string][]ArtifactVersion
	Inputs  []StepInput
}
