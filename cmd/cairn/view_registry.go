package main

import (
	"encoding/json"
	"slices"
	"time"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// The views are what --output json and yaml print: names in snake_case, times
// in RFC 3339 and UTC, numbers as numbers, absent what there is nothing to say
// of. A field may be added, none is renamed.

// findingView is one point of an error or of a validation.
type findingView struct {
	// Severity is "error" or "warning".
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	// Path is what it is about: an attribute of a config, a step, a component.
	Path string `json:"path,omitempty"`
	// Fault says who can mend it: "user", "config", "backend" or "plugin".
	Fault string `json:"fault,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func findingsOf(list diag.List) []findingView {
	var views []findingView
	for _, d := range list {
		views = append(views, findingView{string(d.Severity), d.Summary, d.Detail, d.Path, string(d.Fault), d.Hint})
	}
	return views
}

// componentView is a component.
type componentView struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Name   string `json:"name"`
	Flavor string `json:"flavor"`
	// Config is as it was registered; references to secrets stand as they are.
	Config   json.RawMessage   `json:"config"`
	Labels   map[string]string `json:"labels,omitempty"`
	Revision uint32            `json:"revision"`
	// BuiltIn: part of every home; cannot be changed or deleted.
	BuiltIn bool `json:"built_in"`
	// Stacks are the names of those that it is in.
	Stacks []string `json:"stacks"`
	// Attention says why it cannot be used as it stands.
	Attention string     `json:"attention,omitempty"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

func componentOf(c *apiv1.Component) componentView {
	config := json.RawMessage(c.GetConfig())
	if !json.Valid(config) {
		config = json.RawMessage("{}")
	}
	return componentView{
		ID: c.GetId(), Type: c.GetType(), Name: c.GetName(), Flavor: c.GetFlavor(),
		Config: config, Labels: c.GetLabels(), Revision: c.GetRevision(), BuiltIn: c.GetBuiltIn(),
		Stacks: notNil(c.GetStacks()), Attention: c.GetAttention(),
		CreatedAt: timeOf(c.GetCreatedAt()), UpdatedAt: timeOf(c.GetUpdatedAt()),
	}
}

// stackView is a stack. Components are whole where one stack is described.
type stackView struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Active     bool              `json:"active"`
	BuiltIn    bool              `json:"built_in"`
	Components []memberView      `json:"components"`
	Labels     map[string]string `json:"labels,omitempty"`
	Revision   uint32            `json:"revision"`
	CreatedAt  *time.Time        `json:"created_at,omitempty"`
	UpdatedAt  *time.Time        `json:"updated_at,omitempty"`
}

// memberView is a component in a stack.
type memberView struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	ID     string `json:"id"`
	Flavor string `json:"flavor"`
	// Config stands only where one stack is described.
	Config json.RawMessage `json:"config,omitempty"`
	// Attention says why it cannot be used as it stands.
	Attention string `json:"attention,omitempty"`
}

func stackOf(s *apiv1.Stack) stackView {
	v := stackView{
		ID: s.GetId(), Name: s.GetName(), Active: s.GetActive(), BuiltIn: s.GetBuiltIn(),
		Components: []memberView{}, Labels: s.GetLabels(), Revision: s.GetRevision(),
		CreatedAt: timeOf(s.GetCreatedAt()), UpdatedAt: timeOf(s.GetUpdatedAt()),
	}
	for _, m := range s.GetComponents() {
		v.Components = append(v.Components, memberView{Type: m.GetType(), Name: m.GetName(), ID: m.GetId(), Flavor: m.GetFlavor()})
	}
	return v
}

// withComponents adds what is known of the components.
func (v stackView) withComponents(components []*apiv1.Component) stackView {
	for i := range v.Components {
		at := slices.IndexFunc(components, func(c *apiv1.Component) bool { return c.GetId() == v.Components[i].ID })
		if at >= 0 {
			whole := componentOf(components[at])
			v.Components[i].Config, v.Components[i].Attention = whole.Config, whole.Attention
		}
	}
	return v
}

// activeView is the active stack, and what decided it.
type activeView struct {
	Name string `json:"name"`
	// DecidedBy is "flag", "environment", "user_project", "project", "user" or
	// "default".
	DecidedBy string `json:"decided_by"`
	// Source is the file or variable that decided.
	Source string `json:"source,omitempty"`
}

func activeOf(a *apiv1.ActiveStack) activeView {
	return activeView{a.GetName(), a.GetDecidedBy(), a.GetSource()}
}

// reason says in words what decided.
func (v activeView) reason() string {
	switch v.DecidedBy {
	case "flag":
		return "--stack"
	case "environment":
		return "CAIRN_STACK"
	case "project":
		return "the project's pin in " + v.Source
	case "default":
		return "nothing else was chosen"
	}
	if v.Source != "" {
		return v.Source
	}
	return v.DecidedBy
}

// flavorView is a flavor.
type flavorView struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Plugin  string `json:"plugin"`
	Summary string `json:"summary,omitempty"`
	// SchemaVersion is the version of the config's schema.
	SchemaVersion uint32   `json:"schema_version"`
	Features      []string `json:"features"`
	// MachineBound: a component of it works on the machine where it is only.
	MachineBound bool `json:"machine_bound"`
	// ConfigSchema is a JSON Schema; it stands only where one is described.
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"`
}

func flavorOf(f *apiv1.Flavor, withSchema bool) flavorView {
	v := flavorView{
		Type: f.GetType(), Name: f.GetName(), Plugin: f.GetPlugin(), Summary: f.GetSummary(),
		SchemaVersion: f.GetSchemaVersion(), Features: notNil(f.GetFeatures()), MachineBound: f.GetMachineBound(),
	}
	if withSchema && json.Valid(f.GetConfigSchema()) {
		v.ConfigSchema = f.GetConfigSchema()
	}
	return v
}

// pluginView is a plugin.
type pluginView struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	// Status is "ok", "not_approved", "changed", "missing", "broken" or
	// "shadowed".
	Status string `json:"status"`
	// Detail says why, for any status but ok.
	Detail string `json:"detail,omitempty"`
	// BuiltIn: trusted because it stands beside the cairn executable.
	BuiltIn bool `json:"built_in"`
	// Flavors are as TYPE/NAME.
	Flavors []string `json:"flavors"`
	// Env are the environment variables that it is given.
	Env        []string   `json:"env"`
	ApprovedAt *time.Time `json:"approved_at,omitempty"`
}

func pluginOf(p *apiv1.Plugin) pluginView {
	return pluginView{
		Name: p.GetName(), Path: p.GetPath(), Version: p.GetVersion(), Digest: p.GetDigest(),
		Status: p.GetStatus(), Detail: p.GetDetail(), BuiltIn: p.GetBuiltIn(),
		Flavors: notNil(p.GetFlavors()), Env: notNil(p.GetEnv()), ApprovedAt: timeOf(p.GetApprovedAt()),
	}
}

// secretView is a secret; values only where they were asked for.
type secretView struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"`
	// UsedBy are the components that refer to it, as TYPE/NAME.
	UsedBy    []string          `json:"used_by"`
	Values    map[string]string `json:"values,omitempty"`
	CreatedAt *time.Time        `json:"created_at,omitempty"`
	UpdatedAt *time.Time        `json:"updated_at,omitempty"`
}

func secretOf(s *apiv1.Secret) secretView {
	return secretView{
		Name: s.GetName(), Keys: notNil(s.GetKeys()), UsedBy: notNil(s.GetUsedBy()),
		CreatedAt: timeOf(s.GetCreatedAt()), UpdatedAt: timeOf(s.GetUpdatedAt()),
	}
}

// deletedView is what a delete verb did away with.
type deletedView struct {
	Deleted string `json:"deleted"`
	// Components are those deleted with a stack, Kept those that were not, as
	// TYPE/NAME.
	Components []string `json:"components,omitempty"`
	Kept       []string `json:"kept,omitempty"`
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// viewsOf makes a list of views, never nil, so that JSON has [] for none.
func viewsOf[M, V any](messages []M, view func(M) V) []V {
	views := make([]V, 0, len(messages))
	for _, m := range messages {
		views = append(views, view(m))
	}
	return views
}
