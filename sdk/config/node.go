package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

const draft = "https://json-schema.org/draft/2020-12/schema"

// node is a schema, or the part of one that this package understands.
type node struct {
	Schema      string            `json:"$schema,omitempty"`
	Type        typeName          `json:"type,omitempty"`
	Description string            `json:"description,omitempty"`
	Default     json.RawMessage   `json:"default,omitempty"`
	Enum        []json.RawMessage `json:"enum,omitempty"`
	Examples    []json.RawMessage `json:"examples,omitempty"`
	Format      string            `json:"format,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Minimum     json.Number       `json:"minimum,omitempty"`
	Maximum     json.Number       `json:"maximum,omitempty"`
	MinLength   json.Number       `json:"minLength,omitempty"`
	MaxLength   json.Number       `json:"maxLength,omitempty"`
	MinItems    json.Number       `json:"minItems,omitempty"`
	MaxItems    json.Number       `json:"maxItems,omitempty"`
	MinProps    json.Number       `json:"minProperties,omitempty"`
	MaxProps    json.Number       `json:"maxProperties,omitempty"`
	Deprecated  bool              `json:"deprecated,omitempty"`
	// Instead says what to use in place of a deprecated attribute.
	Instead    string     `json:"x-cairn-deprecated,omitempty"`
	Secret     bool       `json:"x-cairn-secret,omitempty"`
	Items      *node      `json:"items,omitempty"`
	Properties properties `json:"properties,omitempty"`
	Required   []string   `json:"required,omitempty"`
	Additional *extra     `json:"additionalProperties,omitempty"`

	// Set when the schema is compiled: what Pattern says, and whether the node
	// has keywords that change what those above mean, so that only the library
	// can judge its values.
	pattern *regexp.Regexp
	foreign bool
}

// typeName is the type of a value. Of several, the first that is not null.
type typeName string

func (t *typeName) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = typeName(one)
		return nil
	}
	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return fmt.Errorf("type is neither a name nor a list of names")
	}
	for _, name := range many {
		if name != "null" {
			*t = typeName(name)
			return nil
		}
	}
	return nil
}

// extra is additionalProperties: a schema, or whether there may be any.
type extra struct {
	allowed bool
	node    *node
}

func (e *extra) MarshalJSON() ([]byte, error) {
	if e.node != nil {
		return json.Marshal(e.node)
	}
	return json.Marshal(e.allowed)
}

func (e *extra) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &e.allowed) == nil {
		return nil
	}
	e.allowed, e.node = true, new(node)
	return json.Unmarshal(data, e.node)
}

// property is an attribute with its schema.
type property struct {
	name string
	node *node
}

// properties keep the order in which they were declared.
type properties []property

func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, prop := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(prop.name)
		if err != nil {
			return nil, err
		}
		schema, err := json.Marshal(prop.node)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(schema)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (p *properties) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("properties is not an object")
	}
	*p = nil
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		prop := property{name: name.(string), node: new(node)}
		// A schema may be true or false, which says nothing of the type.
		if !bytes.Equal(raw, []byte("true")) && !bytes.Equal(raw, []byte("false")) {
			if err := json.Unmarshal(raw, prop.node); err != nil {
				return fmt.Errorf("attribute %s: %w", prop.name, err)
			}
		}
		*p = append(*p, prop)
	}
	return nil
}

func (n *node) property(name string) *node {
	for _, p := range n.Properties {
		if p.name == name {
			return p.node
		}
	}
	return nil
}

func (n *node) isRequired(name string) bool {
	for _, r := range n.Required {
		if r == name {
			return true
		}
	}
	return false
}

// names are the attributes that are not deprecated first, for near misses.
func (n *node) names() []string {
	var names, old []string
	for _, p := range n.Properties {
		if p.node.Deprecated {
			old = append(old, p.name)
		} else {
			names = append(names, p.name)
		}
	}
	return append(names, old...)
}
