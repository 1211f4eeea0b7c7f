package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compile makes the schema ready to judge by, once.
func (s *Schema) compile() error {
	s.once.Do(func() {
		if s.err = s.root.compile(); s.err == nil {
			s.rest, s.err = newRest(s.root, s.raw)
		}
		if s.err != nil {
			s.err = fmt.Errorf("compile config schema: %w", s.err)
		}
	})
	return s.err
}

var typeNames = []typeName{"", "string", "integer", "number", "boolean", "array", "object", "null"}

// compile checks the keywords that this package judges by.
func (n *node) compile() error {
	if !slices.Contains(typeNames, n.Type) {
		return fmt.Errorf("there is no type %q", n.Type)
	}
	for _, bound := range []json.Number{n.MinLength, n.MaxLength, n.MinItems, n.MaxItems, n.MinProps, n.MaxProps} {
		if _, err := strconv.ParseUint(string(bound), 10, 31); bound != "" && err != nil {
			return fmt.Errorf("the bound %s of a length is not a whole number", bound)
		}
	}
	for _, bound := range []json.Number{n.Minimum, n.Maximum} {
		if _, ok := rational(bound); bound != "" && !ok {
			return fmt.Errorf("the bound %s is out of range", bound)
		}
	}
	if n.Pattern != "" {
		var err error
		if n.pattern, err = regexp.Compile(n.Pattern); err != nil {
			return err
		}
	}
	for _, p := range n.Properties {
		if err := p.node.compile(); err != nil {
			return fmt.Errorf("attribute %s: %w", p.name, err)
		}
	}
	if n.Items != nil {
		if err := n.Items.compile(); err != nil {
			return err
		}
	}
	if n.Additional != nil && n.Additional.node != nil {
		return n.Additional.node.compile()
	}
	return nil
}

// The keywords that this package knows: those that it judges by, and those that
// judge nothing.
var ownKeywords = []string{
	"type", "enum", "format", "pattern", "minimum", "maximum", "minLength", "maxLength",
	"minItems", "maxItems", "minProperties", "maxProperties",
	"items", "properties", "required", "additionalProperties",
	"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
}

// The keywords that ask for more, and leave what the others mean as it is.
var furtherKeywords = []string{
	"const", "multipleOf", "exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "contains", "minContains", "maxContains",
	"propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties",
	"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$defs", "definitions", "$anchor",
}

// compare marks the nodes that are foreign in a schema, decoded, and reports
// whether anything in it is more than this package judges.
func (n *node) compare(schema any) (more bool) {
	keywords, ok := schema.(map[string]any)
	if !ok {
		return schema != true
	}
	for name, v := range keywords {
		switch {
		case slices.Contains(furtherKeywords, name):
			more = true
		case strings.HasPrefix(name, "x-"):
		case !slices.Contains(ownKeywords, name),
			name == "type" && !isA[string](v),
			name == "enum" && !scalars(v):
			n.foreign, more = true, true
		}
	}
	if properties, ok := keywords["properties"].(map[string]any); ok {
		for _, p := range n.Properties {
			more = p.node.compare(properties[p.name]) || more
		}
	}
	if n.Items != nil {
		more = n.Items.compare(keywords["items"]) || more
	}
	if n.Additional != nil && n.Additional.node != nil {
		more = n.Additional.node.compare(keywords["additionalProperties"]) || more
	}
	return more
}

func isA[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func scalars(v any) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(one any) bool { return isA[[]any](one) || isA[map[string]any](one) })
}
