package model

import "time"

// Transfer says how a file changes hands with an artifact store.
type Transfer string

// The transfers.
const (
	// TransferCopy: a private copy.
	TransferCopy Transfer = "copy"
	// TransferMove: the caller gives the file up (put).
	TransferMove Transfer = "move"
	// TransferView: read-only, and may be the stored file itself (get).
	TransferView Transfer = "view"
)

// PutItem is a file to store under a key.
type PutItem struct {
	Key      string
	Path     string
	Size     int64
	Digest   string
	Transfer Transfer
}

// GetItem is an object to bring to a path.
type GetItem struct {
	Key      string
	Path     string
	Size     int64
	Transfer Transfer
}

// ItemResult is what became of one item.
type ItemResult struct {
	// Err is a *diag.PluginError where the item failed.
	Err    error
	Object Object
	// Path of a got file; for a view it may be the stored file's own.
	Path string
}

// Object is what an artifact store knows of a key.
type Object struct {
	Key    string
	Size   int64
	Digest string
}

// StoreFacts are the static facts of a configured artifact store.
type StoreFacts struct {
	StagingDir string `json:"stagingDir"`
	MaxObject  int64  `json:"maxObject,string"`
	LocalView  bool   `json:"localView"`
	Move       bool   `json:"move"`
	Parallel   int    `json:"parallel"`
}

// OrchestratorFacts are the static facts of a configured orchestrator.
type OrchestratorFacts struct {
	Attached        bool `json:"attached"`
	MaxParallel     int  `json:"maxParallel"`
	JobsOutliveHost bool `json:"jobsOutliveHost"`
}

// PlannedStep is what an orchestrator judges.
type PlannedStep struct {
	Name      string
	Execution Execution
	Timeout   time.Duration
}

// StepFinding is one thing that an orchestrator cannot honour; an empty step is
// the plan as a whole.
type StepFinding struct {
	Step    string
	Summary string
	Detail  string
	Hint    string
	Warning bool
}
