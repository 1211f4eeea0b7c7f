package config

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Field is one attribute, for flags, help and forms.
type Field struct {
	// Name is the attribute's; of an attribute in a nested object the path, such
	// as "endpoint.url".
	Name string
	// Type is string, integer, number, boolean, array, or object (of values by
	// free names). Empty where the schema leaves it open.
	Type string
	// Items is the type of an array's entries or an object's values.
	Items       string
	Description string
	// Default, Example and Enum are JSON.
	Default  json.RawMessage
	Example  json.RawMessage
	Enum     []json.RawMessage
	Required bool
	Secret   bool
	// Deprecated, and what to use instead where the schema says so.
	Deprecated bool
	Instead    string
	// Format of a string: FormatPath, FormatDuration, or one of JSON Schema's.
	Format string
	// Minimum and Maximum of a number; empty for none.
	Minimum, Maximum string

	node *node
}

// Fields lists the attributes in the order in which they were declared, those of
// nested objects in place of the object. What a schema says by references or
// alternatives is not listed, though Validate holds it.
func (s *Schema) Fields() []Field { return s.root.fields("", true) }

func (n *node) fields(path string, required bool) []Field {
	var fields []Field
	for _, p := range n.Properties {
		name, must := join(path, p.name), required && n.isRequired(p.name)
		if p.node.Type == "object" && len(p.node.Properties) > 0 {
			fields = append(fields, p.node.fields(name, must)...)
			continue
		}
		fields = append(fields, p.node.field(name, must))
	}
	return fields
}

func (n *node) field(name string, required bool) Field {
	f := Field{
		Name: name, Type: string(n.Type), Description: n.Description, Default: n.Default, Enum: n.Enum,
		Required: required, Secret: n.Secret, Deprecated: n.Deprecated, Instead: n.Instead, Format: n.Format,
		Minimum: n.Minimum.String(), Maximum: n.Maximum.String(), node: n,
	}
	if len(n.Examples) > 0 {
		f.Example = n.Examples[0]
	}
	if n.Items != nil {
		f.Items, f.Secret = string(n.Items.Type), f.Secret || n.Items.Secret
		if f.Format == "" {
			f.Format = n.Items.Format
		}
	}
	if n.Additional != nil && n.Additional.node != nil {
		f.Items = string(n.Additional.node.Type)
	}
	return f
}

// Text is a default, example or enum entry as a person types it.
func Text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		texts := make([]string, len(list))
		for i, r := range list {
			texts[i] = Text(r)
		}
		return strings.Join(texts, ",")
	}
	return string(raw)
}

// ParseValue reads what was typed for a field. A path is made absolute, with a
// leading "~/" replaced by the home directory. A list is separated by commas, or
// a JSON array; an object is KEY=VALUE separated by commas, or a JSON object.
// Bounds are left to Validate. Errors are *diag.Error of code invalid.
func ParseValue(f Field, s string) (any, error) {
	n := f.node
	if n == nil {
		n = &node{Type: typeName(f.Type), Format: f.Format}
	}
	v, err := n.parse(s)
	if err == nil {
		v, err = n.absolute(v)
	}
	if err != nil {
		e := diag.Errorf(diag.Invalid, "%s: %w", f.Name, err)
		if f.Description != "" {
			e.Hint = f.Name + ": " + f.Description
		}
		return nil, e
	}
	return v, nil
}

// Put sets a field's value in a configuration that is being made, which may be
// nested.
func Put(cfg map[string]any, f Field, value any) {
	steps := strings.Split(f.Name, ".")
	for _, step := range steps[:len(steps)-1] {
		inner, ok := cfg[step].(map[string]any)
		if !ok {
			inner = map[string]any{}
			cfg[step] = inner
		}
		cfg = inner
	}
	cfg[steps[len(steps)-1]] = value
}

// parse reads text as a value of the node's type.
func (n *node) parse(s string) (any, error) {
	switch n.Type {
	case "integer":
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("'%s' is not an integer", s)
		}
		return v, nil
	case "number":
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("'%s' is not a number", s)
		}
		return v, nil
	case "boolean":
		v, err := strconv.ParseBool(s)
		if err != nil {
			return nil, fmt.Errorf("'%s' is not true or false", s)
		}
		return v, nil
	case "array":
		return n.parseList(s)
	case "object":
		return n.parseObject(s)
	case "string":
		if n.Format == FormatDuration {
			if _, err := time.ParseDuration(s); err != nil {
				return nil, fmt.Errorf("'%s' is not a span of time such as 30s or 1h15m", s)
			}
		}
		return s, nil
	}
	// A type that the schema leaves open: JSON where it is, else a string.
	if v, err := decodeNumber(json.RawMessage(s)); err == nil && json.Valid([]byte(s)) {
		return v, nil
	}
	return s, nil
}

func (n *node) parseList(s string) (any, error) {
	if strings.HasPrefix(strings.TrimSpace(s), "[") {
		var list []any
		if err := json.Unmarshal([]byte(s), &list); err != nil {
			return nil, fmt.Errorf("'%s' is not a JSON array", s)
		}
		return list, nil
	}
	list := []any{}
	if s == "" {
		return list, nil
	}
	items := n.Items
	if items == nil {
		items = &node{Type: "string"}
	}
	for one := range strings.SplitSeq(s, ",") {
		v, err := items.parse(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (n *node) parseObject(s string) (any, error) {
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		if _, isRef := ParseReference(s); !isRef {
			m, err := object(json.RawMessage(s))
			if err != nil {
				return nil, fmt.Errorf("'%s' is not a JSON object", s)
			}
			return m, nil
		}
	}
	m := map[string]any{}
	if s == "" {
		return m, nil
	}
	values := &node{Type: "string"}
	if n.Additional != nil && n.Additional.node != nil {
		values = n.Additional.node
	}
	for pair := range strings.SplitSeq(s, ",") {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("'%s' is not KEY=VALUE", pair)
		}
		v, err := values.parse(text)
		if err != nil {
			return nil, err
		}
		m[strings.TrimSpace(name)] = v
	}
	return m, nil
}

// absolute makes paths that were typed absolute.
func (n *node) absolute(v any) (any, error) {
	switch v := v.(type) {
	case string:
		if n.Format != FormatPath || v == "" {
			return v, nil
		}
		if _, isRef := ParseReference(v); isRef {
			return v, nil
		}
		if rest, ok := strings.CutPrefix(v, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("find the home directory: %w", err)
			}
			return filepath.Join(home, rest), nil
		}
		return filepath.Abs(v)
	case []any:
		if n.Items == nil {
			return v, nil
		}
		for i := range v {
			inner, err := n.Items.absolute(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = inner
		}
	}
	return v, nil
}
