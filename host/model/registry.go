// Package model holds the plain types of the host: components and stacks, runs
// and steps, artifacts, events. It imports nothing of cairn and does nothing.
package model

import (
	"encoding/json"
	"strings"
	"time"
)

// ComponentType is a kind of component.
type ComponentType string

// The component types. A further one is an entry here and in ComponentTypes.
const (
	Orchestrator  ComponentType = "orchestrator"
	ArtifactStore ComponentType = "artifact-store"
)

// ComponentTypes lists the types in the order in which people see them.
func ComponentTypes() []ComponentType {
	return []ComponentType{Orchestrator, ArtifactStore}
}

// Required reports whether every stack has exactly one component of the type.
func (t ComponentType) Required() bool { return t == Orchestrator || t == ArtifactStore }

// DefaultName is the name of the stack, and of its components, that every home
// has. They are built in: no row can change them.
const DefaultName = "default"

// Ids of the built-in objects.
const (
	DefaultStackID         = "default"
	DefaultOrchestratorID  = "default-orchestrator"
	DefaultArtifactStoreID = "default-artifact-store"
)

// maxName is the longest name.
const maxName = 63

// ValidName reports whether s can name a component, stack, pipeline, step, run,
// artifact or secret.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return len(s) <= maxName && s != "latest" && strings.Trim(s, "0123456789") != ""
}

// NameRule is ValidName in words.
const NameRule = "a name has 1 to 63 characters of a-z, 0-9, '_', '.' and '-', begins with a letter or a digit, is not 'latest' and not digits only"

// Component is a configured flavor at one revision.
type Component struct {
	ID     string        `json:"id"`
	Type   ComponentType `json:"type"`
	Name   string        `json:"name"`
	Flavor string        `json:"flavor"`
	// Config as registered: a JSON object; secret references stand as they are.
	Config json.RawMessage `json:"config"`
	// SchemaVersion and PluginVersion are those that judged the config.
	SchemaVersion int               `json:"schema_version"`
	PluginVersion string            `json:"plugin_version"`
	Labels        map[string]string `json:"labels,omitempty"`
	// Revision counts from 1; each is immutable.
	Revision  int       `json:"revision"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// BuiltIn reports whether the component is part of every home.
func (c Component) BuiltIn() bool {
	return c.ID == DefaultOrchestratorID || c.ID == DefaultArtifactStoreID
}

// Stack is a named set of components.
type Stack struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Members: the orchestrator, the artifact store, then by type and name.
	Members   []StackMember     `json:"members"`
	Labels    map[string]string `json:"labels,omitempty"`
	Revision  int               `json:"revision"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// BuiltIn reports whether the stack is part of every home.
func (s Stack) BuiltIn() bool { return s.ID == DefaultStackID }

// Member gives the first component of a type.
func (s Stack) Member(t ComponentType) (StackMember, bool) {
	for _, m := range s.Members {
		if m.Type == t {
			return m, true
		}
	}
	return StackMember{}, false
}

// StackMember is a component in a stack.
type StackMember struct {
	Type        ComponentType `json:"type"`
	ComponentID string        `json:"component_id"`
	Name        string        `json:"name"`
	Flavor      string        `json:"flavor"`
}

// StackSnapshot is a stack as a run was made with it: its components at their
// exact revisions, and the plugins that served them.
type StackSnapshot struct {
	StackID    string              `json:"stack_id"`
	Name       string              `json:"name"`
	Components []ComponentSnapshot `json:"components"`
}

// ComponentSnapshot is one component of a StackSnapshot.
type ComponentSnapshot struct {
	Component     Component `json:"component"`
	Plugin        string    `json:"plugin"`
	PluginVersion string    `json:"plugin_version"`
	PluginDigest  string    `json:"plugin_digest"`
}

// Component gives the first component of a type.
func (s StackSnapshot) Component(t ComponentType) (ComponentSnapshot, bool) {
	for _, c := range s.Components {
		if c.Component.Type == t {
			return c, true
		}
	}
	return ComponentSnapshot{}, false
}

// Flavor is one implementation of a component type, as its plugin describes it.
type Flavor struct {
	Type          ComponentType   `json:"type"`
	Name          string          `json:"name"`
	Plugin        string          `json:"plugin"`
	Summary       string          `json:"summary"`
	Majors        []int           `json:"majors"`
	SchemaVersion int             `json:"schema_version"`
	ConfigSchema  json.RawMessage `json:"config_schema"`
	Features      []string        `json:"features,omitempty"`
	Env           []string        `json:"env,omitempty"`
	MachineBound  bool            `json:"machine_bound"`
}

// PluginStatus says whether a plugin can be used.
type PluginStatus string

// The statuses of a plugin.
const (
	PluginOK          PluginStatus = "ok"
	PluginNotApproved PluginStatus = "not_approved"
	PluginChanged     PluginStatus = "changed"
	PluginMissing     PluginStatus = "missing"
	PluginBroken      PluginStatus = "broken"
	PluginShadowed    PluginStatus = "shadowed"
)

// Plugin is an entry of the catalogue.
type Plugin struct {
	Name    string       `json:"name"`
	Path    string       `json:"path"`
	Version string       `json:"version"`
	Digest  string       `json:"digest"`
	Status  PluginStatus `json:"status"`
	// Detail says why, and what mends it, for any status but ok.
	Detail string `json:"detail,omitempty"`
	// BuiltIn: stands beside the cairn executable, trusted as it is.
	BuiltIn    bool      `json:"built_in"`
	Flavors    []Flavor  `json:"flavors"`
	ApprovedAt time.Time `json:"approved_at,omitzero"`
	// File is what the binary was when its digest was computed.
	File FileIdentity `json:"file"`
	// SDK and Channels are as Describe gave them.
	SDK      string   `json:"sdk,omitempty"`
	Channels []string `json:"channels,omitempty"`
}

// FileIdentity tells whether a file is the one that was looked at before,
// without reading it.
type FileIdentity struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	MtimeNS int64  `json:"mtime_ns"`
	CtimeNS int64  `json:"ctime_ns"`
}

// Secret is a secret without its values.
type Secret struct {
	Name      string    `json:"name"`
	Keys      []string  `json:"keys"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}
