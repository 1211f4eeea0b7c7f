package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/google/jsonschema-go/jsonschema"
)

// rest judges what a schema asks for beyond the keywords of this package, as a
// schema may that was not made by it. It is nil where there is nothing more.
type rest struct{ schema *jsonschema.Resolved }

// newRest compiles a schema that is more than the node says. Nothing is loaded
// from outside of it.
func newRest(root *node, raw json.RawMessage) (r *rest, err error) {
	var decoded any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		return nil, err
	}
	if !root.compare(decoded) {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the schema cannot be read: %v", p)
		}
	}()
	var schema jsonschema.Schema
	if err := json.Unmarshal(raw, &schema); err != nil {
		return nil, err
	}
	resolved, err := schema.Resolve(nil)
	return &rest{resolved}, err
}

// judge gives the first of what is wrong with a configuration.
func (r *rest) judge(cfg map[string]any) (found diag.List) {
	if r == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			found = diag.List{finding("", "the configuration cannot be judged by its schema: %v", p)}
		}
	}()
	err := r.schema.Validate(floats(cfg))
	if err == nil {
		return nil
	}
	path, keyword, v := refused(err.Error(), cfg)
	if s, ok := v.(string); ok {
		if _, isRef := ParseReference(s); isRef {
			return nil
		}
	}
	d := finding(path, "does not pass '%s' of its schema", keyword)
	d.Hint = "`cairn flavor describe` shows the schema"
	return diag.List{d}
}

// refused takes an error of the library apart: the attribute and its value, as
// far as the paths of the schemas that refused tell it, and the keyword. The
// library's own words are left out, since they repeat values.
func refused(text string, cfg map[string]any) (path, keyword string, value any) {
	value = cfg
	above := ""
	for {
		rest, ok := strings.CutPrefix(text, "validating ")
		if !ok {
			break
		}
		var at string
		at, text, _ = strings.Cut(rest, ": ")
		if at == "root" {
			continue
		}
		if added, inside := strings.CutPrefix(at, above+"/"); inside {
			for steps := strings.Split(added, "/"); len(steps) > 1 && steps[0] == "properties"; steps = steps[2:] {
				name := strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[1])
				path = join(path, name)
				inner, _ := value.(map[string]any)
				value = inner[name]
			}
		}
		above = at
	}
	keyword, _, _ = strings.Cut(text, ":")
	if strings.ContainsAny(keyword, " \n") || keyword == "" {
		keyword = "additionalProperties"
	}
	return path, keyword, value
}

// floats gives a value with its numbers as the library knows them.
func floats(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, inner := range v {
			out[name] = floats(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = floats(inner)
		}
		return out
	}
	return v
}
