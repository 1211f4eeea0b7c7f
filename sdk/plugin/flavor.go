package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/hashicorp/go-hclog"
)

// Info says what a plugin is.
type Info struct {
	// Name is what follows "cairn-plugin-" in the name of the binary.
	Name string
	// Version of the plugin, in semantic versioning.
	Version string
}

// Instance is what a flavor is told of the component that it is made for.
type Instance struct {
	// Component is the component's name, ComponentID stays the same when it is
	// renamed, and Revision counts the changes of its configuration.
	Component   string
	ComponentID string
	Revision    int
	// Logger writes to the host's log, with the component named.
	Logger hclog.Logger
}

// ConfigValidator is implemented by a config struct (or a pointer to it) whose
// rules are more than its tags can say. It touches neither files nor network. A
// Secret's value is then still its reference.
type ConfigValidator interface {
	ValidateConfig() diag.List
}

// Option is something that a flavor declares beside its configuration.
type Option func(*Flavor)

// WithEnv declares the environment variables that a flavor reads: exact names,
// or a prefix followed by "*". The host passes no others but proxies,
// certificates, locale and temporary directory.
func WithEnv(names ...string) Option {
	return func(f *Flavor) { f.env = append(f.env, names...) }
}

// MachineBound declares that a flavor works only with files or processes of the
// machine that it runs on.
func MachineBound() Option { return func(f *Flavor) { f.machineBound = true } }

// WithParallel says how many calls of a flavor are useful side by side; 8 where
// it is not said. At most as many of a batch run at once.
func WithParallel(n int) Option { return func(f *Flavor) { f.parallel = n } }

// Flavor is one flavor that a plugin serves; made by ArtifactStoreFlavor and the
// like.
type Flavor struct {
	componentType string
	name          string
	summary       string
	env           []string
	machineBound  bool
	parallel      int
	features      []string
	schema        func() (*config.Schema, error)
	// validate is the ConfigValidator of a configuration.
	validate func(cfg json.RawMessage) diag.List
	// open makes an implementation. wipe forgets the secrets of its config.
	open func(ctx context.Context, cfg json.RawMessage, in Instance) (impl any, wipe func(), err error)
}

const defaultParallel = 8

// newFlavor puts together what is the same for every component type.
func newFlavor[C any, T any](
	componentType, name, summary string,
	open func(ctx context.Context, cfg C, in Instance) (T, error), opts []Option,
) Flavor {
	f := Flavor{componentType: componentType, name: name, summary: summary, parallel: defaultParallel}
	f.schema = sync.OnceValues(func() (*config.Schema, error) {
		raw, err := config.SchemaOf[C]()
		if err != nil {
			return nil, err
		}
		return config.Parse(raw)
	})
	f.validate = func(raw json.RawMessage) diag.List {
		var cfg C
		v, ok := any(&cfg).(ConfigValidator)
		if !ok {
			return nil
		}
		if err := config.Decode(raw, &cfg); err != nil {
			return diag.List{{Severity: diag.SeverityError, Fault: diag.FaultConfig, Summary: err.Error()}}
		}
		return v.ValidateConfig()
	}
	f.open = func(ctx context.Context, raw json.RawMessage, in Instance) (any, func(), error) {
		var cfg C
		if err := config.Decode(raw, &cfg); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", diag.ErrInvalidConfig, err)
		}
		wipe := func() { config.Wipe(&cfg) }
		impl, err := open(ctx, cfg, in)
		if err != nil {
			wipe()
			return nil, nil, err
		}
		return impl, wipe, nil
	}
	for _, o := range opts {
		o(&f)
	}
	return f
}

// describe is the flavor on the wire. It fails on an author's mistake.
func (f *Flavor) describe() (wire.Flavor, error) {
	s, err := f.schema()
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return wire.Flavor{}, fmt.Errorf("config of the %s flavor %s: %w", f.componentType, f.name, err)
	}
	return wire.Flavor{
		Type: f.componentType, Name: f.name, Majors: []int{1}, SchemaVersion: 1,
		ConfigSchema: s.JSON(), Features: f.features, Env: f.env,
		Summary: f.summary, MachineBound: f.machineBound,
	}, nil
}
