package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/pflag"

	"github.com/cairn-stack/cairn/sdk/config"
)

// optionFields are the attributes of a flavor's config, each of which is an
// option.
func optionFields(schema json.RawMessage) ([]config.Field, error) {
	if len(schema) == 0 {
		return nil, nil
	}
	s, err := config.Parse(schema)
	if err != nil {
		return nil, err
	}
	return s.Fields(), nil
}

// optionFlag makes the flag of an attribute. One whose name is taken by a flag of
// the verb itself gets "option-" before its name.
func optionFlag(f config.Field, taken func(string) bool) *pflag.Flag {
	name := strings.ReplaceAll(f.Name, "_", "-")
	if taken(name) {
		name = "option-" + name
	}
	flag := &pflag.Flag{Name: name, Usage: optionUsage(f), Value: &optionValue{field: f, flagName: name}}
	if f.Type == "boolean" {
		flag.NoOptDefVal = "true"
	}
	return flag
}

// optionUsage is an option's line in a help text.
func optionUsage(f config.Field) string {
	var notes []string
	add := func(note string, when bool) {
		if when {
			notes = append(notes, note)
		}
	}
	add("required", f.Required)
	add("secret, as {{NAME.KEY}}", f.Secret)
	add("one of "+strings.Join(choicesOf(f), ", "), len(f.Enum) > 0)
	add("at least "+f.Minimum, f.Minimum != "")
	add("at most "+f.Maximum, f.Maximum != "")
	// An empty default says nothing.
	byDefault := config.Text(f.Default)
	add("default "+byDefault, byDefault != "" && byDefault != "null")
	add("for example "+config.Text(f.Example), len(f.Example) > 0)
	add(joinNonEmpty(": ", "deprecated", f.Instead), f.Deprecated)
	text := strings.ReplaceAll(strings.TrimSuffix(f.Description, "."), "`", "'")
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, "; ") + ")"
	}
	return strings.TrimSpace(text)
}

// choicesOf are the values that an attribute can have, where they are few.
func choicesOf(f config.Field) []string {
	if f.Type == "boolean" {
		return []string{"true", "false"}
	}
	var choices []string
	for _, v := range f.Enum {
		choices = append(choices, config.Text(v))
	}
	return choices
}

// optionValue is the flag's value: it knows the attribute's type.
type optionValue struct {
	field    config.Field
	flagName string
	set      bool
	value    any
}

// String is empty, so that the help prints no default of its own.
func (v *optionValue) String() string { return "" }

// Type is what the help shows for the value.
func (v *optionValue) Type() string {
	switch {
	case v.field.Type == "array":
		return joinNonEmpty(",", v.field.Items, "...")
	case v.field.Type == "object":
		return "KEY=VALUE,..."
	case v.field.Type == "boolean":
		return "bool"
	case v.field.Format != "":
		return v.field.Format
	case v.field.Type == "":
		return "value"
	}
	return v.field.Type
}

// Set takes a value as it was typed. A list grows with each use of the flag.
func (v *optionValue) Set(text string) error {
	_, reference := config.ParseReference(text)
	if v.field.Secret && text != "" && !reference {
		return usageError("--%s is a secret, and a secret is never taken from the command line", v.flagName).
			WithHint("cairn secret create NAME KEY, then --%s '{{NAME.KEY}}'", v.flagName)
	}
	var value any = text
	if !reference {
		var err error
		if value, err = config.ParseValue(v.field, text); err != nil {
			return err
		}
	}
	before, isList := v.value.([]any)
	if list, ok := value.([]any); ok && isList {
		value = append(before, list...)
	}
	v.set, v.value = true, value
	return nil
}
