package model

import (
	"encoding/json"
	"time"
)

// Client is what a host knows of who asks.
type Client struct {
	// Project that the client stands in.
	Project Project
	// StackFlag and StackEnv are the stack named by a flag and by CAIRN_STACK.
	StackFlag string
	StackEnv  string
}

// DefaultProject is the id of the project of everything outside of one.
const DefaultProject = "default"

// Project is a name space for pipelines, runs and artifacts.
type Project struct {
	ID string
	// File is its .cairn/project.yaml; empty for the default project.
	File string
	// Stack is the one that the file pins; empty for none.
	Stack string
	// Root is the directory that holds .cairn.
	Root string
}

// Decider is what decided which stack is active.
type Decider string

// The deciders, the strongest first.
const (
	DecidedByFlag        Decider = "flag"
	DecidedByEnvironment Decider = "environment"
	// DecidedByUserProject: the user's choice for the project.
	DecidedByUserProject Decider = "user_project"
	// DecidedByProject: the pin in the project's file.
	DecidedByProject Decider = "project"
	// DecidedByUser: the user's choice for everywhere.
	DecidedByUser    Decider = "user"
	DecidedByDefault Decider = "default"
)

// ActiveStack is a stack and what decided that it is the active one.
type ActiveStack struct {
	Name      string
	DecidedBy Decider
	// Source is where that stands: a flag, a variable, a file.
	Source string
}

// ComponentChoice names a component of a type; for taking components out of a
// stack, an empty name is all of the type.
type ComponentChoice struct {
	Type ComponentType
	Name string
}

// ComponentChange is what an update does to a component. A config attribute
// that is null is removed.
type ComponentChange struct {
	Config json.RawMessage
	Labels LabelChange
}

// StackChange is what an update does to a stack.
type StackChange struct {
	// Set: each replaces the component of its type, or is added.
	Set    []ComponentChoice
	Remove []ComponentChoice
	Labels LabelChange
}

// LabelChange adds or replaces labels, and then removes some.
type LabelChange struct {
	Set    map[string]string
	Remove []string
}

// StackDeletion is what deleting a stack deletes, or would delete.
type StackDeletion struct {
	// Deleted are its components that go with it, and Kept those that stay.
	Deleted []ComponentChoice
	Kept    []ComponentChoice
}

// HealthState is what a check of a component found.
type HealthState string

// The health states.
const (
	HealthOK       HealthState = "ok"
	HealthDegraded HealthState = "degraded"
	HealthFailed   HealthState = "failed"
)

// ComponentReport is what is to say of a component in a stack.
type ComponentReport struct {
	Component Component
	State     HealthState
	Findings  []ReportFinding
	// Latency of the backend; 0 where it was not asked.
	Latency time.Duration
}

// ReportFinding is one finding of a ComponentReport.
type ReportFinding struct {
	Warning                            bool
	Summary, Detail, Path, Fault, Hint string
}

// ActiveStackSetting is the key of the setting that holds the id of the stack
// that the user chose for a project; an empty project is everywhere.
func ActiveStackSetting(project string) string {
	if project == "" {
		return "active_stack"
	}
	return "active_stack/" + project
}
