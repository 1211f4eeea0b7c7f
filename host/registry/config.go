package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// maxConfig bounds a component's config, in bytes.
const maxConfig = 64 << 10

// ListFlavors gives the flavors of a type, or all, that can be used now.
func (r *Registry) ListFlavors(ctx context.Context, t model.ComponentType) ([]model.Flavor, error) {
	if t != "" {
		if err := knownType(t); err != nil {
			return nil, err
		}
	}
	return r.flavors.Flavors(ctx, t)
}

// GetFlavor finds a flavor. Where a plugin that cannot be used has it, the
// error says why that is.
func (r *Registry) GetFlavor(ctx context.Context, t model.ComponentType, name string) (model.Flavor, error) {
	if err := knownType(t); err != nil {
		return model.Flavor{}, err
	}
	list, err := r.flavors.Flavors(ctx, t)
	if err != nil {
		return model.Flavor{}, err
	}
	var names []string
	for _, f := range list {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	plugins, err := r.flavors.Plugins(ctx)
	if err != nil {
		return model.Flavor{}, err
	}
	// silent are plugins of which nobody knows yet what they serve.
	var silent []model.Plugin
	for _, p := range plugins {
		if p.Status == model.PluginOK || p.Status == model.PluginShadowed {
			continue
		}
		if slices.ContainsFunc(p.Flavors, func(f model.Flavor) bool { return f.Type == t && f.Name == name }) {
			return model.Flavor{}, unusableFlavor(t, name, p)
		}
		if len(p.Flavors) == 0 {
			silent = append(silent, p)
		}
	}
	return model.Flavor{}, noFlavor(t, name, names, silent)
}

// unusableFlavor says why a flavor's plugin cannot be used, and the way out.
func unusableFlavor(t model.ComponentType, name string, p model.Plugin) error {
	hint := fmt.Sprintf("'cairn plugin describe %s' says more", p.Name)
	switch p.Status {
	case model.PluginChanged, model.PluginNotApproved:
		hint = fmt.Sprintf("if you trust it as it is now: cairn plugin approve %s", p.Path)
	case model.PluginMissing:
		hint = "'cairn plugin list' shows the plugins that are there"
	}
	return &diag.Error{
		Code:    diag.Plugin,
		Summary: fmt.Sprintf("%s flavor '%s' cannot be used: plugin '%s' is %s", noun(t), name, p.Name, statusWords(p.Status)),
		Detail:  p.Detail, Hint: hint,
	}
}

// noFlavor says that no usable plugin serves a flavor, and names those of which
// nobody knows what they serve.
func noFlavor(t model.ComponentType, name string, names []string, silent []model.Plugin) error {
	e := &diag.Error{
		Code:    diag.NotFound,
		Summary: fmt.Sprintf("no %s flavor named '%s'%s", noun(t), name, diag.DidYouMean(name, names)),
		Hint:    fmt.Sprintf("'cairn %s flavor list' shows all", t),
		Err:     model.ErrNotFound,
	}
	if len(names) == 0 {
		e.Hint = fmt.Sprintf("no plugin with %s flavors was found: see 'cairn plugin list'", noun(t))
	}
	for _, p := range silent {
		e.Findings = append(e.Findings, diag.Diagnostic{Severity: diag.SeverityWarning, Summary: p.Detail, Fault: diag.FaultPlugin})
	}
	return e
}

func statusWords(s model.PluginStatus) string {
	switch s {
	case model.PluginNotApproved:
		return "not approved"
	case model.PluginChanged:
		return "changed since it was approved"
	}
	return string(s)
}

// judge holds a component's config against its flavor's schema, against the
// secrets that there are, and against what the plugin itself says. It gives the
// component with what judged it.
func (r *Registry) judge(ctx context.Context, c model.Component) (model.Component, error) {
	if len(bytes.TrimSpace(c.Config)) == 0 {
		c.Config = json.RawMessage("{}")
	}
	if len(c.Config) > maxConfig {
		return c, diag.Errorf(diag.Invalid, "the config of %s '%s' is too large: %d bytes, at most %d",
			noun(c.Type), c.Name, len(c.Config), maxConfig)
	}
	r = r.once()
	f, err := r.GetFlavor(ctx, c.Type, c.Flavor)
	if err != nil {
		return c, err
	}
	found, err := r.schemaFindings(ctx, c, f)
	if err != nil {
		return c, err
	}
	if !found.HasError() {
		asked, err := r.flavors.ValidateConfig(ctx, c)
		if err != nil {
			return c, err
		}
		for _, a := range asked {
			found = append(found, finding(a))
		}
	}
	if found.HasError() {
		return c, &diag.Error{
			Code:     diag.Invalid,
			Summary:  fmt.Sprintf("the config of %s '%s' is not valid", noun(c.Type), c.Name),
			Findings: found,
			Hint:     fmt.Sprintf("'cairn %s register --flavor %s --help' shows the options of the flavor", c.Type, c.Flavor),
		}
	}
	c.SchemaVersion = f.SchemaVersion
	c.PluginVersion, err = r.pluginVersion(ctx, f.Plugin)
	return c, err
}

func (r *Registry) pluginVersion(ctx context.Context, name string) (string, error) {
	p, err := r.plugin(ctx, name)
	return p.Version, err
}

// plugin finds the usable plugin of a name.
func (r *Registry) plugin(ctx context.Context, name string) (model.Plugin, error) {
	plugins, err := r.flavors.Plugins(ctx)
	if err != nil {
		return model.Plugin{}, err
	}
	for _, p := range plugins {
		if p.Name == name && p.Status != model.PluginShadowed {
			return p, nil
		}
	}
	return model.Plugin{}, &diag.Error{
		Code: diag.Plugin, Summary: fmt.Sprintf("plugin '%s' is missing", name),
		Hint: "put it back, or see 'cairn plugin list'", Err: model.ErrNotFound,
	}
}

// schemaFindings are what schema and secrets say of a config.
func (r *Registry) schemaFindings(ctx context.Context, c model.Component, f model.Flavor) (diag.List, error) {
	schema, err := config.Parse(f.ConfigSchema)
	if err != nil {
		return nil, &diag.Error{
			Code: diag.Plugin, Summary: fmt.Sprintf("plugin '%s' gives a config schema for %s flavor '%s' that cannot be used", f.Plugin, noun(f.Type), f.Name),
			Detail: err.Error(), Hint: "this is an error in the plugin; report it to its developer", Err: err,
		}
	}
	found := schema.Validate(c.Config)
	refs, err := config.References(c.Config)
	if err != nil || len(refs) == 0 {
		// What is no object has its finding already.
		return found, nil
	}
	secrets, err := r.secrets.SecretKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		found = append(found, judgeReference(ref, secrets)...)
	}
	return found, nil
}

func judgeReference(ref config.Reference, secrets map[string][]string) diag.List {
	have, ok := secrets[ref.Secret]
	if ok && slices.Contains(have, ref.Key) {
		return nil
	}
	d := diag.Diagnostic{Severity: diag.SeverityError, Fault: diag.FaultConfig, Path: ref.Path}
	if !ok {
		d.Summary = fmt.Sprintf("no secret named '%s'%s", ref.Secret, diag.DidYouMean(ref.Secret, keys(secrets)))
		d.Hint = fmt.Sprintf("make it: cairn secret create %s", ref.Secret)
	} else {
		d.Summary = fmt.Sprintf("secret '%s' has no key '%s'%s", ref.Secret, ref.Key, diag.DidYouMean(ref.Key, have))
		d.Hint = fmt.Sprintf("add it: cairn secret update %s", ref.Secret)
	}
	return diag.List{d}
}

// SecretUsers gives the components that refer to each secret, as TYPE/NAME, by
// the secret's name.
func (r *Registry) SecretUsers(ctx context.Context) (map[string][]string, error) {
	return SecretUsers(ctx, r.store)
}

// SecretUsers is Registry.SecretUsers over a store alone.
func SecretUsers(ctx context.Context, store interface {
	Components(ctx context.Context, t model.ComponentType) ([]model.Component, error)
}) (map[string][]string, error) {
	list, err := store.Components(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("list components: %w", err)
	}
	out := map[string][]string{}
	for _, c := range list {
		refs, err := config.References(c.Config)
		if err != nil {
			continue
		}
		user := string(c.Type) + "/" + c.Name
		for _, ref := range refs {
			if !slices.Contains(out[ref.Secret], user) {
				out[ref.Secret] = append(out[ref.Secret], user)
			}
		}
	}
	return out, nil
}

// Attention gives why components cannot be used as they stand, by id: their
// flavor is gone, or their config does not fit it any more. It starts nothing
// but what is needed to describe a plugin that was never described.
func (r *Registry) Attention(ctx context.Context, components []model.Component) (map[string]string, error) {
	out := map[string]string{}
	r = r.once()
	for _, c := range components {
		f, err := r.GetFlavor(ctx, c.Type, c.Flavor)
		if err != nil {
			if e, ok := asDiag(err); ok {
				out[c.ID] = e.Error()
				continue
			}
			return nil, err
		}
		if isDefaultStore(c) {
			continue
		}
		found, err := r.schemaFindings(ctx, c, f)
		if e, ok := asDiag(err); ok {
			out[c.ID] = e.Error()
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			if d.Severity == diag.SeverityError {
				out[c.ID] = d.String()
				break
			}
		}
	}
	return out, nil
}

// isDefaultStore: the path of the built-in store is computed by the host, so
// that its own config is not whole.
func isDefaultStore(c model.Component) bool { return c.ID == model.DefaultArtifactStoreID }

func finding(f model.ReportFinding) diag.Diagnostic {
	d := diag.Diagnostic{
		Severity: diag.SeverityError, Summary: f.Summary, Detail: f.Detail,
		Path: f.Path, Fault: diag.Fault(f.Fault), Hint: f.Hint,
	}
	if f.Warning {
		d.Severity = diag.SeverityWarning
	}
	return d
}

// mergeConfig merges a change over a config: objects attribute by attribute,
// all else whole; an attribute that is null is removed.
func mergeConfig(base, change json.RawMessage) (json.RawMessage, error) {
	var b, c map[string]any
	if err := decodeObject(base, &b); err != nil {
		b = map[string]any{}
	}
	if err := decodeObject(change, &c); err != nil {
		return nil, diag.Errorf(diag.Invalid, "the change of a config is not a JSON object").WithDetail("%s", err)
	}
	merged, err := json.Marshal(mergeObjects(b, c))
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return merged, nil
}

// decodeObject keeps numbers as they are written.
func decodeObject(raw json.RawMessage, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

func mergeObjects(base, change map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range change {
		inner, isObject := v.(map[string]any)
		old, wasObject := out[k].(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isObject && wasObject:
			out[k] = mergeObjects(old, inner)
		case isObject:
			out[k] = mergeObjects(nil, inner)
		default:
			out[k] = v
		}
	}
	return out
}
