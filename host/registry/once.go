package registry

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
)

// once is the registry for one operation that asks for many flavors: the
// catalogue, which looks at the plugins' files each time, is asked once.
func (r *Registry) once() *Registry {
	c := *r
	c.flavors = &onceFlavors{catalogue: r.flavors}
	return &c
}

// onceFlavors remembers what it was told. It serves one operation, and is not
// safe for concurrent use.
type onceFlavors struct {
	catalogue Flavors
	flavors   []model.Flavor
	plugins   []model.Plugin
}

func (o *onceFlavors) Flavors(ctx context.Context, t model.ComponentType) ([]model.Flavor, error) {
	if o.flavors == nil {
		list, err := o.catalogue.Flavors(ctx, "")
		if err != nil {
			return nil, err
		}
		o.flavors = list
	}
	var out []model.Flavor
	for _, f := range o.flavors {
		if t == "" || f.Type == t {
			out = append(out, f)
		}
	}
	return out, nil
}

func (o *onceFlavors) Plugins(ctx context.Context) ([]model.Plugin, error) {
	if o.plugins == nil {
		list, err := o.catalogue.Plugins(ctx)
		if err != nil {
			return nil, err
		}
		o.plugins = list
	}
	return o.plugins, nil
}

func (o *onceFlavors) ValidateConfig(ctx context.Context, c model.Component) ([]model.ReportFinding, error) {
	return o.catalogue.ValidateConfig(ctx, c)
}

func (o *onceFlavors) Probe(ctx context.Context, stack model.StackSnapshot, check bool) ([]model.ComponentReport, error) {
	return o.catalogue.Probe(ctx, stack, check)
}
