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
