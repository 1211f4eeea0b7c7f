package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Validate judges a configuration in which secrets are still references. Each
// finding names its attribute in Path, such as "endpoint.url" or "hosts[2]", and
// no finding repeats a secret. A reference passes for any string.
func (s *Schema) Validate(cfg json.RawMessage) diag.List {
	m, err := object(cfg)
	if err != nil {
		return diag.List{finding("", "%s", err)}
	}
	if err := s.compile(); err != nil {
		return diag.List{{Severity: diag.SeverityError, Fault: diag.FaultPlugin,
			Summary: err.Error(), Hint: "this is an error in the plugin; report it to its developer"}}
	}
	found, warnings := s.root.inspect("", m)
	plain := map[string]bool{}
	for _, d := range found {
		plain[d.Path] = true
	}
	for _, d := range s.root.judge("", m) {
		if !plain[d.Path] {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		found = s.rest.judge(m)
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
