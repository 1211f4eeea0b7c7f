// Package registry keeps components and stacks: it names, validates, changes
// and deletes them, and says which stack is the active one.
package registry

import (
	"context"
	"time"

	"github.com/cairn-stack/cairn/host/model"
)

// Store keeps what the registry registers. It fails with the errors of package
// model.
type Store interface {
	CreateComponent(ctx context.Context, c model.Component) error
	Component(ctx context.Context, t model.ComponentType, nameOrID string) (model.Component, error)
	// Components of a type; of every type where it is empty.
	Components(ctx context.Context, t model.ComponentType) ([]model.Component, error)
	// UpdateComponent writes the revision after fromRevision.
	UpdateComponent(ctx context.Context, c model.Component, fromRevision int) error
	RenameComponent(ctx context.Context, id, newName string) error
	DeleteComponent(ctx context.Context, id string) error
	// StacksUsing gives the names of the stacks that a component is in.
	StacksUsing(ctx context.Context, componentID string) ([]string, error)

	CreateStack(ctx context.Context, s model.Stack) error
	Stack(ctx context.Context, nameOrID string) (model.Stack, error)
	Stacks(ctx context.Context) ([]model.Stack, error)
	UpdateStack(ctx context.Context, s model.Stack, fromRevision int) error
	RenameStack(ctx context.Context, id, newName string) error
	// DeleteStack deletes components with it, all or nothing.
	DeleteStack(ctx context.Context, id string, alsoComponentIDs []string) error

	Setting(ctx context.Context, key string) (string, bool, error)
	SetSetting(ctx context.Context, key, value string) error
}

// Flavors says what can be made a component of.
type Flavors interface {
	// Flavors of a type that can be used now; of every type where it is empty.
	Flavors(ctx context.Context, t model.ComponentType) ([]model.Flavor, error)
	// Plugins gives all that is known, usable or not.
	Plugins(ctx context.Context) ([]model.Plugin, error)
	// ValidateConfig asks the flavor's plugin what the schema cannot say.
	ValidateConfig(ctx context.Context, c model.Component) ([]model.ReportFinding, error)
	// Probe opens components as a run would; with check, it asks the backends.
	// One report for each component, in their order.
	Probe(ctx context.Context, stack model.StackSnapshot, check bool) ([]model.ComponentReport, error)
}

// Secrets says which secrets there are.
type Secrets interface {
	// SecretKeys gives the keys of every secret, by its name.
	SecretKeys(ctx context.Context) (map[string][]string, error)
}

// Pins writes the stack that a project pins.
type Pins interface {
	PinStack(p model.Project, stack string) error
}

// Runs says which runs use a stack now.
type Runs interface {
	// ActiveRunsOn gives the names of the runs on a stack that have not ended.
	ActiveRunsOn(ctx context.Context, stack string) ([]string, error)
}

// Parts are what a Registry is made of. All but Now and NewID are required.
type Parts struct {
	Store   Store
	Flavors Flavors
	Secrets Secrets
	Pins    Pins
	Runs    Runs
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// NewID makes ids; nil makes ULIDs.
	NewID func() string
}

// Registry keeps components and stacks. Its errors are *diag.Error values.
// Safe for concurrent use, also by several processes.
type Registry struct {
	store   Store
	flavors Flavors
	secrets Secrets
	pins    Pins
	runs    Runs
	now     func() time.Time
	newID   func() string
}

// New makes a Registry.
func New(p Parts) *Registry {
	r := &Registry{
		store: p.Store, flavors: p.Flavors, secrets: p.Secrets, pins: p.Pins, runs: p.Runs,
		now: p.Now, newID: p.NewID,
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.newID == nil {
		r.newID = newULID
	}
	return r
}
