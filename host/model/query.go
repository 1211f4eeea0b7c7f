package model

// RunFilter says which runs a list has, newest first. Empty fields do not
// filter.
type RunFilter struct {
	Project  string
	Pipeline string
	State    RunState
	Stack    string
	// Limit is the most that one answer holds.
	Limit int
	// Page is where a former answer ended; empty from the newest on.
	Page string
}

// ArtifactFilter says which artifact versions a list has, newest first.
type ArtifactFilter struct {
	Project string
	Name    string
	// AllVersions: every version, not only the latest of each name.
	AllVersions bool
	Limit       int
	Page        string
}

// PipelineSummary is what a project's pipeline has run.
type PipelineSummary struct {
	Name   string
	Runs   int
	Latest Run
}

// BoundInput is an input of a step run and the artifact version it was bound to.
type BoundInput struct {
	Input   string
	Version ArtifactVersion
}

// Consumer is a step run that read an artifact version.
type Consumer struct {
	RunID string
	// RunName is empty where the run was deleted.
	RunName string
	Step    string
	State   StepState
	Input   string
}
