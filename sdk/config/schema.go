package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Schema is a JSON Schema of a configuration. Reading one is cheap: it is
// compiled when Validate is first called. Safe for concurrent use.
type Schema struct {
	raw  json.RawMessage
	root *node

	once sync.Once
	rest *rest
	err  error
}

// Parse reads a JSON Schema of an object. It comes from a plugin, so it is
// untrusted: references out of the document are refused when it is used.
func Parse(raw json.RawMessage) (*Schema, error) {
	s := &Schema{raw: bytes.Clone(raw), root: new(node)}
	if err := json.Unmarshal(raw, s.root); err != nil {
		return nil, fmt.Errorf("read config schema: %w", err)
	}
	if s.root.Type != "object" {
		return nil, fmt.Errorf("the config schema's type is %q, not object", s.root.Type)
	}
	return s, nil
}

// JSON is the schema as it was read.
func (s *Schema) JSON() json.RawMessage { return bytes.Clone(s.raw) }

// Decode puts a configuration, validated and with its references resolved, into
// the struct that the schema was made from.
func Decode(cfg json.RawMessage, into any) error {
	if len(cfg) == 0 {
		cfg = json.RawMessage("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(cfg))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("decode config: %w", err)
	}
	return nil
}

// object reads a configuration; numbers stay as they were written.
func object(cfg json.RawMessage) (map[string]any, error) {
	if len(bytes.TrimSpace(cfg)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(cfg))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the configuration is more than one JSON object")
	}
	if m == nil {
		return nil, errors.New("the configuration is null")
	}
	return m, nil
}

// ApplyDefaults gives the configuration with the default of each attribute that
// is absent. A nested object that is absent is made when it has defaults and
// nothing in it is required.
func (s *Schema) ApplyDefaults(cfg json.RawMessage) (json.RawMessage, error) {
	m, err := object(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.root.fill(m); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (n *node) fill(m map[string]any) error {
	for _, p := range n.Properties {
		v, present := m[p.name]
		switch {
		case present:
			if inner, ok := v.(map[string]any); ok {
				if err := p.node.fill(inner); err != nil {
					return err
				}
			}
		case p.node.Default != nil:
			v, err := decodeNumber(p.node.Default)
			if err != nil {
				return fmt.Errorf("default of %s: %w", p.name, err)
			}
			m[p.name] = v
		case p.node.Type == "object" && len(p.node.Required) == 0:
			inner := map[string]any{}
			if err := p.node.fill(inner); err != nil {
				return err
			}
			if len(inner) > 0 {
				m[p.name] = inner
			}
		}
	}
	return nil
}

func decodeNumber(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// Check refuses a schema that cannot be compiled, or whose own defaults or
// examples do not pass it. It is not quick.
func (s *Schema) Check() error {
	if err := s.compile(); err != nil {
		return err
	}
	return s.root.selfCheck("")
}

func (n *node) selfCheck(path string) error {
	for _, p := range n.Properties {
		at := join(path, p.name)
		var values []json.RawMessage
		values = append(values, p.node.Examples...)
		if p.node.Default != nil {
			values = append(values, p.node.Default)
		}
		for _, v := range values {
			if err := p.node.accepts(p.name, v); err != nil {
				return fmt.Errorf("%s: the default or example %s does not pass: %w", at, v, err)
			}
		}
		if err := p.node.selfCheck(at); err != nil {
			return err
		}
	}
	return nil
}

// accepts validates a value of one attribute, alone.
func (n *node) accepts(name string, v json.RawMessage) error {
	raw, err := json.Marshal(&node{Type: "object", Properties: properties{{name, n}}})
	if err != nil {
		return err
	}
	s, err := Parse(raw)
	if err != nil {
		return err
	}
	cfg, err := json.Marshal(map[string]json.RawMessage{name: v})
	if err != nil {
		return err
	}
	for _, d := range s.Validate(cfg) {
		if d.Severity == diag.SeverityError {
			return errors.New(d.Summary)
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
