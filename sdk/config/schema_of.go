package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[Duration]()
)

// The tags that say something of an attribute.
var tagNames = []string{"doc", "default", "required", "enum", "min", "max", "format", "pattern", "deprecated", "example"}

// SchemaOf derives the JSON Schema (draft 2020-12) of a configuration from its
// struct. An error is a mistake in the struct or its tags, and names the field;
// Schema.Check finds the mistakes that only show when a value is validated. The
// same struct gives the same bytes.
func SchemaOf[T any]() (json.RawMessage, error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("a configuration is a struct, not a %s", t)
	}
	n, err := structNode(t, nil)
	if err != nil {
		return nil, err
	}
	n.Schema = draft
	raw, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("write the schema of %s: %w", t, err)
	}
	return raw, nil
}

func structNode(t reflect.Type, above []reflect.Type) (*node, error) {
	if slices.Contains(above, t) {
		return nil, fmt.Errorf("%s holds itself", t)
	}
	above = append(above, t)
	n := &node{Type: "object", Additional: &extra{}}
	if err := n.addFields(t, above); err != nil {
		return nil, err
	}
	return n, nil
}

// addFields adds the fields of t; those of an embedded struct stand beside the
// others, as in encoding/json.
func (n *node) addFields(t reflect.Type, above []reflect.Type) error {
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" && opts == "" {
			continue
		}
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			if err := n.addFields(f.Type, above); err != nil {
				return err
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if err := n.addField(f, name, above); err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
	}
	return nil
}

func (n *node) addField(f reflect.StructField, name string, above []reflect.Type) error {
	if name == "" {
		return fmt.Errorf("the json tag with the attribute's name is missing; %q would fit", snake(f.Name))
	}
	if len(name) > 63 || !spelled(name, "", "_") || name[0] <= '9' {
		return fmt.Errorf("the attribute's name %q does not match ^[a-z][a-z0-9_]{0,62}$", name)
	}
	if n.property(name) != nil {
		return fmt.Errorf("two attributes are called %q", name)
	}
	child, err := typeNode(f.Type, above)
	if err != nil {
		return err
	}
	tags := tagsOf(f.Tag)
	if err := child.applyTags(tags); err != nil {
		return err
	}
	if tags["required"] != "" {
		required, err := strconv.ParseBool(tags["required"])
		if err != nil {
			return fmt.Errorf("the tag required is %q, not true or false", tags["required"])
		}
		if required && tags["default"] != "" {
			return fmt.Errorf("an attribute with a default is never missing, so it cannot be required")
		}
		if required {
			n.Required = append(n.Required, name)
		}
	}
	n.Properties = append(n.Properties, property{name, child})
	return nil
}

func typeNode(t reflect.Type, above []reflect.Type) (*node, error) {
	switch t {
	case secretType:
		return &node{Type: "string", Secret: true}, nil
	case durationType:
		return &node{Type: "string", Format: FormatDuration}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeNode(t.Elem(), above)
	case reflect.String:
		return &node{Type: "string"}, nil
	case reflect.Bool:
		return &node{Type: "boolean"}, nil
	case reflect.Int, reflect.Int32, reflect.Int16, reflect.Int8:
		return &node{Type: "integer"}, nil
	case reflect.Int64:
		if t.String() == "time.Duration" {
			return nil, fmt.Errorf("time.Duration is a bare number in JSON; use config.Duration")
		}
		return &node{Type: "integer"}, nil
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return &node{Type: "integer", Minimum: "0"}, nil
	case reflect.Float64, reflect.Float32:
		return &node{Type: "number"}, nil
	case reflect.Slice:
		items, err := typeNode(t.Elem(), above)
		return &node{Type: "array", Items: items}, err
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("a map needs string keys")
		}
		values, err := typeNode(t.Elem(), above)
		return &node{Type: "object", Additional: &extra{allowed: true, node: values}}, err
	case reflect.Struct:
		return structNode(t, above)
	}
	return nil, fmt.Errorf("the type %s cannot be an attribute", t)
}

func tagsOf(tag reflect.StructTag) map[string]string {
	tags := map[string]string{}
	for _, name := range tagNames {
		if v, ok := tag.Lookup(name); ok {
			tags[name] = v
		}
	}
	return tags
}

// applyTags puts what the tags say into the schema of an attribute.
func (n *node) applyTags(tags map[string]string) error {
	n.Description = tags["doc"]
	if v, ok := tags["deprecated"]; ok {
		n.Deprecated, n.Instead = true, v
	}
	if v := tags["format"]; v != "" {
		n.Format = v
	}
	n.Pattern = tags["pattern"]
	if (n.Format != "" || n.Pattern != "") && n.Type != "string" {
		return fmt.Errorf("format and pattern are for strings, not for type %s", n.Type)
	}
	if err := n.applyBounds(tags["min"], tags["max"]); err != nil {
		return err
	}
	if v, ok := tags["default"]; ok {
		if n.Secret {
			return fmt.Errorf("a secret has no default")
		}
		raw, err := n.literal(v)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		n.Default = raw
	}
	if v, ok := tags["example"]; ok {
		raw, err := n.literal(v)
		if err != nil {
			return fmt.Errorf("example: %w", err)
		}
		n.Examples = []json.RawMessage{raw}
	}
	if v, ok := tags["enum"]; ok {
		of := n
		if n.Type == "array" {
			of = n.Items
		}
		for one := range strings.SplitSeq(v, ",") {
			raw, err := of.literal(strings.TrimSpace(one))
			if err != nil {
				return fmt.Errorf("enum: %w", err)
			}
			of.Enum = append(of.Enum, raw)
		}
	}
	return nil
}

func (n *node) applyBounds(lo, hi string) error {
	for _, v := range []string{lo, hi} {
		if v == "" {
			continue
		}
		if _, err := strconv.ParseFloat(v, 64); err != nil {
			return fmt.Errorf("the bound %q is not a number", v)
		}
	}
	switch n.Type {
	case "integer", "number":
		if lo != "" {
			n.Minimum = json.Number(lo)
		}
		n.Maximum = json.Number(hi)
	case "string":
		n.MinLength, n.MaxLength = json.Number(lo), json.Number(hi)
	case "array":
		n.MinItems, n.MaxItems = json.Number(lo), json.Number(hi)
	case "object":
		n.MinProps, n.MaxProps = json.Number(lo), json.Number(hi)
	default:
		if lo != "" || hi != "" {
			return fmt.Errorf("type %s has no bounds", n.Type)
		}
	}
	return nil
}

// literal is a tag's text as JSON of the node's type.
func (n *node) literal(s string) (json.RawMessage, error) {
	v, err := n.parse(s)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// snake turns a Go name into an attribute's.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
