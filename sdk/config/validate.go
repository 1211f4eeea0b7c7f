package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Validate judges a configuration in which secrets are still references. Each
// finding names its attribute in Path, such as "endpoint.url" or "hosts[2]", and
// no finding repeats a secret. A reference passes for any string.
func (s *Schema) Validate(cfg json.RawMessage) diag.List {
	m, err := object(cfg)
	if err != nil {
		return diag.List{finding("", "%s", err)}
	}
	v, err := s.validator()
	if err != nil {
		return diag.List{{Severity: diag.SeverityError, Fault: diag.FaultPlugin,
			Summary: err.Error(), Hint: "this is an error in the plugin; report it to its developer"}}
	}
	secrets, warnings := s.root.inspect("", m)
	found := secrets
	plain := map[string]bool{}
	for _, d := range secrets {
		plain[d.Path] = true
	}
	c := collector{root: s.root, value: m}
	if err := v.Validate(m); err != nil {
		var ve *jsonschema.ValidationError
		if !errors.As(err, &ve) {
			return diag.List{finding("", "%s", err)}
		}
		c.collect(ve)
	}
	for _, d := range c.found {
		if !plain[d.Path] {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b diag.Diagnostic) int { return strings.Compare(a.Path, b.Path) })
	return append(found, warnings...)
}

func finding(path, format string, args ...any) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.SeverityError, Fault: diag.FaultConfig,
		Path: path, Summary: fmt.Sprintf(format, args...)}
}

// inspect finds what JSON Schema does not know: secrets in plain text, and
// deprecated attributes that are set.
func (n *node) inspect(path string, v any) (secrets, warnings diag.List) {
	switch v := v.(type) {
	case string:
		if n.Secret && v != "" {
			if _, ok := ParseReference(v); !ok {
				d := finding(path, "a secret stands here in plain text")
				d.Hint = "keep it with `cairn secret create NAME`, and give {{NAME.KEY}} instead"
				secrets = append(secrets, d)
			}
		}
	case map[string]any:
		for name, inner := range v {
			child := n.property(name)
			if child == nil && n.Additional != nil {
				child = n.Additional.node
			}
			if child == nil {
				continue
			}
			at := join(path, name)
			if child.Deprecated {
				d := finding(at, "is deprecated")
				d.Severity, d.Hint = diag.SeverityWarning, child.Instead
				warnings = append(warnings, d)
			}
			s, w := child.inspect(at, inner)
			secrets, warnings = append(secrets, s...), append(warnings, w...)
		}
	case []any:
		if n.Items == nil {
			break
		}
		for i, inner := range v {
			s, w := n.Items.inspect(fmt.Sprintf("%s[%d]", path, i), inner)
			secrets, warnings = append(secrets, s...), append(warnings, w...)
		}
	}
	slices.SortStableFunc(warnings, func(a, b diag.Diagnostic) int { return strings.Compare(a.Path, b.Path) })
	return secrets, warnings
}

// collector turns the validator's errors into findings.
type collector struct {
	root  *node
	value any
	found diag.List
}

func (c *collector) collect(e *jsonschema.ValidationError) {
	switch e.ErrorKind.(type) {
	case *kind.OneOf, *kind.AnyOf, *kind.Not:
		// Which alternative was meant is not known, so their errors say little.
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				c.collect(cause)
			}
			return
		}
	}
	path, n, v := c.locate(e.InstanceLocation)
	if s, ok := v.(string); ok {
		if _, isRef := ParseReference(s); isRef {
			if _, isType := e.ErrorKind.(*kind.Type); !isType {
				return
			}
		}
	}
	c.found = append(c.found, describe(e.ErrorKind, path, n)...)
}

// locate gives the path of a place in the configuration, for people, with its
// schema as far as that is known, and its value.
func (c *collector) locate(location []string) (string, *node, any) {
	path, n, v := "", c.root, c.value
	for _, step := range location {
		switch inner := v.(type) {
		case map[string]any:
			path, v = join(path, step), inner[step]
			if n != nil {
				next := n.property(step)
				if next == nil && n.Additional != nil {
					next = n.Additional.node
				}
				n = next
			}
		case []any:
			path = fmt.Sprintf("%s[%s]", path, step)
			i := 0
			if _, err := fmt.Sscanf(step, "%d", &i); err == nil && i < len(inner) {
				v = inner[i]
			}
			if n != nil {
				n = n.Items
			}
		}
	}
	return path, n, v
}

// describe says an error in plain words.
func describe(k jsonschema.ErrorKind, path string, n *node) diag.List {
	switch k := k.(type) {
	case *kind.AdditionalProperties:
		return unknown(path, k.Properties, n)
	case *kind.Required:
		return missing(path, k.Missing, n)
	case *kind.Type:
		return diag.List{finding(path, "has to be %s, not %s", article(strings.Join(k.Want, " or ")), article(k.Got))}
	case *kind.Enum:
		return diag.List{notOneOf(path, k)}
	case *kind.Minimum:
		return diag.List{finding(path, "has to be at least %s, not %s", k.Want.RatString(), k.Got.RatString())}
	case *kind.Maximum:
		return diag.List{finding(path, "has to be at most %s, not %s", k.Want.RatString(), k.Got.RatString())}
	case *kind.MinLength:
		if k.Got == 0 {
			return diag.List{finding(path, "must not be empty")}
		}
		return diag.List{finding(path, "has to have at least %d characters, not %d", k.Want, k.Got)}
	case *kind.MaxLength:
		return diag.List{finding(path, "has to have at most %d characters, not %d", k.Want, k.Got)}
	case *kind.MinItems:
		return diag.List{finding(path, "has to have at least %d entries, not %d", k.Want, k.Got)}
	case *kind.MaxItems:
		return diag.List{finding(path, "has to have at most %d entries, not %d", k.Want, k.Got)}
	case *kind.Pattern:
		return diag.List{finding(path, "does not match %s: %q", k.Want, k.Got)}
	case *kind.Format:
		return diag.List{finding(path, "%s: %q", formatText(k), k.Got)}
	}
	return diag.List{finding(path, "%s", k.LocalizedString(message.NewPrinter(language.English)))}
}

func unknown(path string, names []string, n *node) diag.List {
	var found diag.List
	for _, name := range names {
		d := finding(join(path, name), "no attribute '%s'", name)
		if n != nil {
			d.Summary += diag.DidYouMean(name, n.names())
			d.Hint = "the attributes are " + strings.Join(n.names(), ", ")
		}
		found = append(found, d)
	}
	return found
}

func missing(path string, names []string, n *node) diag.List {
	var found diag.List
	for _, name := range names {
		d := finding(join(path, name), "attribute '%s' is missing", name)
		if n != nil && n.property(name) != nil {
			d.Detail = n.property(name).Description
		}
		found = append(found, d)
	}
	return found
}

func notOneOf(path string, k *kind.Enum) diag.Diagnostic {
	var names []string
	for _, w := range k.Want {
		names = append(names, fmt.Sprint(w))
	}
	got := fmt.Sprint(k.Got)
	return finding(path, "has to be one of %s, not '%s'%s", strings.Join(names, ", "), got, diag.DidYouMean(got, names))
}

func formatText(k *kind.Format) string {
	switch k.Want {
	case FormatPath:
		return "has to be an absolute path"
	case FormatDuration:
		return "has to be a span of time such as 30s or 1h15m"
	}
	return "is not a valid " + k.Want
}

func article(t string) string {
	switch {
	case t == "null":
		return "null"
	case strings.ContainsRune("aeio", rune(t[0])):
		return "an " + t
	}
	return "a " + t
}

func checkPath(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	if !filepath.IsAbs(s) || strings.ContainsRune(s, 0) {
		return errors.New("not an absolute path")
	}
	return nil
}

func checkDuration(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	_, err := time.ParseDuration(s)
	return err
}
