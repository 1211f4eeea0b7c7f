package engine

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
)

// Journal is what the engine asks of the store: commands that are atomic and
// idempotent, and the one query that a resume needs. Commands fail with the
// errors of package model; after model.ErrBusy the same command is tried again.
type Journal interface {
	// CreateRun is C0. A run of the same ID is returned as it stands.
	CreateRun(ctx context.Context, run model.NewRun) (model.Run, error)
	// Acquire is CE: epoch+1, owner, state running. It fails with ErrOwned while
	// the owner's lock is held, unless takeOver; with ErrConflict for a
	// completed run. changeID makes it idempotent. A cancel intent that
	// the former owner did not hear is the heir's to act on.
	Acquire(ctx context.Context, runID, hostID, changeID string, takeOver bool) (model.Run, error)
	// Apply commits changes of a run at an epoch, and gives the run's seq.
	Apply(ctx context.Context, runID string, epoch int64, changes []model.Change) (int64, error)
	// LoadRun gives all that is known of a run.
	LoadRun(ctx context.Context, runID string) (model.RunRecord, error)
	// EndedAttempts gives those of the attempts that have ended, or whose run has,
	// and whose run belongs to no living host. Ids that it does not know, it does
	// not give.
	EndedAttempts(ctx context.Context, ids []string) ([]string, error)
	// LocateContent gives where a content is stored.
	LocateContent(ctx context.Context, digest string) ([]model.Location, error)
	// Intents gives the runs, of those that hostID owns, that somebody asked to
	// cancel. Cheap while nothing changed.
	Intents(ctx context.Context, hostID string) ([]string, error)
}

// Stacks opens the stack of a run.
type Stacks interface {
	// OpenStack brings up and configures the components that a snapshot names,
	// with secrets resolved. Close it when the run is over.
	OpenStack(ctx context.Context, snapshot model.StackSnapshot) (Stack, error)
}

// Stack is an open stack.
type Stack interface {
	Orchestrator() Orchestrator
	ArtifactStore() ArtifactStore
	Close() error
}

// Orchestrator is an open orchestrator component.
type Orchestrator interface {
	Facts() model.OrchestratorFacts
	// CanRun gives what it cannot honour, by step.
	CanRun(ctx context.Context, steps []PlannedStep) ([]StepFinding, error)
}

// PlannedStep and StepFinding are what CanRun is asked and answers.
type (
	PlannedStep = model.PlannedStep
	StepFinding = model.StepFinding
)

// ArtifactStore is an open artifact store component.
type ArtifactStore interface {
	// ID is the identity of the store, as its marker has it.
	ID() string
	Facts() model.StoreFacts
	// PutFiles and GetFiles answer one result for each item, in order; the error
	// is for the call as a whole.
	PutFiles(ctx context.Context, items []model.PutItem) ([]model.ItemResult, error)
	GetFiles(ctx context.Context, items []model.GetItem) ([]model.ItemResult, error)
	// PutBytes stores a small object, at most 1 MiB, that stands in no file.
	PutBytes(ctx context.Context, key string, data []byte, digest string) error
	Stat(ctx context.Context, keys []string) ([]model.ItemResult, error)
	// Delete removes objects; an absent key is success.
	Delete(ctx context.Context, keys []string) ([]model.ItemResult, error)
}

// Secrets gives the values of a secret, for a step that declared it.
type Secrets interface {
	SecretValues(ctx context.Context, name string) (map[string]string, error)
}
