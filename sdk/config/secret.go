package config

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Reference is a reference to a key of a secret, written {{SECRET.KEY}} in a
// configuration. A reference is the whole value of a string attribute.
type Reference struct {
	// Secret is the secret's name, which has no dot.
	Secret string
	Key    string
	// Path is the attribute that it stands in, where References found it.
	Path string
}

// String is the reference without braces, as it travels beside a configuration.
func (r Reference) String() string { return r.Secret + "." + r.Key }

// ParseReference reads a whole value, and reports whether it is a reference.
func ParseReference(s string) (Reference, bool) {
	inner, opened := strings.CutPrefix(s, "{{")
	inner, closed := strings.CutSuffix(inner, "}}")
	secret, key, dotted := strings.Cut(inner, ".")
	if !opened || !closed || !dotted || len(secret) > 63 || len(key) > 128 ||
		!spelled(secret, "", "_-") || !spelled(key, capitals+"_", capitals+"_.-") {
		return Reference{}, false
	}
	return Reference{Secret: secret, Key: key}, true
}

const capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// spelled reports whether s is lower-case letters and digits, or what else its
// first and its other characters may be.
func spelled(s, first, others string) bool {
	for i := range len(s) {
		more := others
		if i == 0 {
			more = first
		}
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return s != ""
}

// References lists the references of a configuration, in the order of their
// paths.
func References(cfg json.RawMessage) ([]Reference, error) {
	m, err := object(cfg)
	if err != nil {
		return nil, err
	}
	var refs []Reference
	if _, err := walk("", m, func(r Reference) (string, error) {
		refs = append(refs, r)
		return "", nil
	}); err != nil {
		return nil, err
	}
	return refs, nil
}

// Resolve gives the configuration with each reference replaced by what lookup
// gives for it. An error of lookup ends it, with the attribute's path.
func Resolve(cfg json.RawMessage, lookup func(Reference) (string, error)) (json.RawMessage, error) {
	m, err := object(cfg)
	if err != nil {
		return nil, err
	}
	resolved, err := walk("", m, lookup)
	if err != nil {
		return nil, err
	}
	return json.Marshal(resolved)
}

// FromMap is a lookup for Resolve in values by Reference.String.
func FromMap(values map[string]string) func(Reference) (string, error) {
	return func(r Reference) (string, error) {
		v, ok := values[r.String()]
		if !ok {
			return "", &diag.Error{Code: diag.NotFound,
				Summary: fmt.Sprintf("there is no value for {{%s}}", r),
				Hint:    "`cairn secret list` shows what there is"}
		}
		return v, nil
	}
}

// walk replaces the references in a value by what use gives.
func walk(path string, v any, use func(Reference) (string, error)) (any, error) {
	switch v := v.(type) {
	case string:
		r, ok := ParseReference(v)
		if !ok {
			return v, nil
		}
		r.Path = path
		s, err := use(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return s, nil
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		out := make(map[string]any, len(v))
		for _, name := range names {
			inner, err := walk(join(path, name), v[name], use)
			if err != nil {
				return nil, err
			}
			out[name] = inner
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			inner, err := walk(fmt.Sprintf("%s[%d]", path, i), v[i], use)
			if err != nil {
				return nil, err
			}
			out[i] = inner
		}
		return out, nil
	}
	return v, nil
}
