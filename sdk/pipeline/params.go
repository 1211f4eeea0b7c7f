package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// reserved are the flags that every pipeline program has or will have.
var reserved = []string{"config", "failure-mode", "help", "label", "name", "no-cache", "plan", "resume", "stack"}

// param is one field of a Params struct.
type param struct {
	name     string // of the flag, and in the configuration file
	field    string // of the struct, for errors
	help     string
	fallback string
	enum     []string
	min, max *float64
	required bool
	secret   bool
	value    reflect.Value
	// source says where the value came from; empty for the default.
	source string
}

// paramSet is the parameters of a run.
type paramSet struct {
	value  any // a Params
	target reflect.Value
	params []*param
	byName map[string]*param
}

// newParams makes the parameters of a struct type with their defaults. Errors
// are about the struct itself.
func newParams(t reflect.Type) (*paramSet, error) {
	s := &paramSet{target: reflect.New(t).Elem(), byName: map[string]*param{}}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("parameters are a %s, not a struct", typeName(t))
	}
	if err := s.collect(s.target, "", typeName(t)); err != nil {
		return nil, err
	}
	for _, p := range s.params {
		if p.fallback == "" {
			continue
		}
		if err := p.set(p.fallback, ""); err != nil {
			return nil, fmt.Errorf("the default of %s: %w", p.field, err)
		}
	}
	return s, nil
}

var typeDuration = reflect.TypeFor[time.Duration]()

func (s *paramSet) collect(v reflect.Value, prefix, path string) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		where := path + "." + f.Name
		if !f.IsExported() {
			return fmt.Errorf("field %s is not exported, so nothing could set it", where)
		}
		name := f.Tag.Get("name")
		if name == "" {
			name = kebab(f.Name, "-")
		}
		if f.Type.Kind() == reflect.Struct {
			if f.Anonymous {
				name = ""
			} else {
				name += "."
			}
			if err := s.collect(v.Field(i), prefix+name, where); err != nil {
				return err
			}
			continue
		}
		p := &param{
			name: prefix + name, field: where, help: f.Tag.Get("doc"), fallback: f.Tag.Get("default"),
			required: f.Tag.Get("required") == "true", secret: f.Tag.Get("secret") == "true", value: v.Field(i),
		}
		if err := p.readBounds(f); err != nil {
			return err
		}
		if err := s.insert(p); err != nil {
			return err
		}
	}
	return nil
}

func (p *param) readBounds(f reflect.StructField) error {
	if e := f.Tag.Get("enum"); e != "" {
		p.enum = strings.Split(e, ",")
	}
	for _, b := range []struct {
		tag string
		to  **float64
	}{{"min", &p.min}, {"max", &p.max}} {
		text := f.Tag.Get(b.tag)
		if text == "" {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("the tag %s of %s is not a number: %q", b.tag, p.field, text)
		}
		*b.to = &n
	}
	return nil
}

func (s *paramSet) insert(p *param) error {
	if strings.Trim(p.name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" || strings.HasPrefix(p.name, "-") || p.name == "" {
		return fmt.Errorf("the name of %s, '%s', cannot be a flag: use a-z, 0-9 and -", p.field, p.name)
	}
	if slices.Contains(reserved, p.name) {
		return fmt.Errorf("the name of %s, '%s', is a flag of every pipeline program; give it another one with the tag `name:\"%s-value\"`", p.field, p.name, p.name)
	}
	if other := s.byName[p.name]; other != nil {
		return fmt.Errorf("%s and %s have the same name, '%s'", other.field, p.field, p.name)
	}
	if _, ok := kindName(p.value.Type()); !ok {
		return fmt.Errorf("%s is a %s; a parameter is a text, a number, a bool, a time.Duration, or a list or struct of these", p.field, typeName(p.value.Type()))
	}
	s.byName[p.name] = p
	s.params = append(s.params, p)
	return nil
}

// kindName says what a value of a type is, for help and errors.
func kindName(t reflect.Type) (string, bool) {
	switch t.Kind() {
	case reflect.String:
		return "text", true
	case reflect.Bool:
		return "bool", true
	case reflect.Float32, reflect.Float64:
		return "number", true
	case reflect.Int64:
		if t == typeDuration {
			return "duration", true
		}
		return "int", true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "int", true
	case reflect.Slice:
		item, ok := kindName(t.Elem())
		return "list of " + item, ok && t.Elem().Kind() != reflect.Slice
	}
	return "", false
}

// set gives the parameter a value in its text form; a list is separated by
// commas. The source is where it comes from, for errors and precedence.
func (p *param) set(text, source string) error {
	if p.value.Kind() != reflect.Slice {
		return p.setItems([]string{text}, source)
	}
	if text == "" {
		return p.setItems(nil, source)
	}
	return p.setItems(strings.Split(text, ","), source)
}

// setItems gives the items of a list, or the one value of anything else.
func (p *param) setItems(items []string, source string) error {
	list := p.value.Kind() == reflect.Slice
	out := reflect.New(p.value.Type()).Elem()
	if list {
		out = reflect.MakeSlice(p.value.Type(), len(items), len(items))
	}
	for i, text := range items {
		to := out
		if list {
			to = out.Index(i)
		}
		if err := p.setOne(to, text); err != nil {
			return err
		}
	}
	p.value.Set(out)
	p.source = source
	return nil
}

func (p *param) setOne(to reflect.Value, text string) error {
	kind, _ := kindName(to.Type())
	wrong := func() error {
		if p.secret {
			return fmt.Errorf("it is not of the kind %s", kind)
		}
		return fmt.Errorf("%q is not of the kind %s", text, kind)
	}
	number := math.NaN()
	if len(p.enum) > 0 && !slices.Contains(p.enum, text) {
		return fmt.Errorf("%q is none of %s%s", text, strings.Join(p.enum, ", "), diag.DidYouMean(text, p.enum))
	}
	switch {
	case to.Type() == typeDuration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 1m30s", text)
		}
		to.SetInt(int64(d))
		number = d.Seconds()
	case to.Kind() == reflect.String:
		to.SetString(text)
		number = float64(utf8.RuneCountInString(text))
		if p.outside(number) {
			return fmt.Errorf("it has a length of %v; %s are possible", number, p.bounds())
		}
	case to.Kind() == reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return wrong()
		}
		to.SetBool(v)
	case to.CanFloat():
		v, err := strconv.ParseFloat(text, to.Type().Bits())
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return wrong()
		}
		to.SetFloat(v)
		number = v
	case to.CanInt():
		v, err := strconv.ParseInt(text, 10, to.Type().Bits())
		if err != nil {
			return wrong()
		}
		to.SetInt(v)
		number = float64(v)
	default:
		v, err := strconv.ParseUint(text, 10, to.Type().Bits())
		if err != nil {
			return wrong()
		}
		to.SetUint(v)
		number = float64(v)
	}
	if p.outside(number) {
		return fmt.Errorf("%s is out of bounds: %s are possible", text, p.bounds())
	}
	return nil
}

// outside holds for a number beyond the bounds; not for NaN.
func (p *param) outside(number float64) bool {
	return p.min != nil && number < *p.min || p.max != nil && number > *p.max
}

// bounds says what the bounds are; empty where there are none.
func (p *param) bounds() string {
	show := func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
	unit := ""
	switch {
	case p.value.Type() == typeDuration:
		show = func(n float64) string { return time.Duration(n * float64(time.Second)).String() }
	case p.value.Kind() == reflect.String:
		unit = " characters"
	}
	switch {
	case p.min != nil && p.max != nil:
		return show(*p.min) + " to " + show(*p.max) + unit
	case p.min != nil:
		return show(*p.min) + unit + " or more"
	case p.max != nil:
		return show(*p.max) + unit + " or less"
	}
	return ""
}

// text is the value as set takes it.
func (p *param) text() string {
	switch v := p.value.Interface().(type) {
	case time.Duration:
		return v.String()
	default:
		if p.value.Kind() == reflect.Slice {
			items := make([]string, p.value.Len())
			for i := range items {
				items[i] = fmt.Sprint(p.value.Index(i))
			}
			return strings.Join(items, ",")
		}
		return fmt.Sprint(v)
	}
}

// variable is the environment variable that sets the parameter.
func (p *param) variable() string {
	return "CAIRN_PARAM_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(p.name))
}

// fromMap sets parameters from the configuration file.
func (s *paramSet) fromMap(values map[string]any, prefix, source string) error {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name := prefix + key
		if inner, ok := values[key].(map[string]any); ok {
			if err := s.fromMap(inner, name+".", source); err != nil {
				return err
			}
			continue
		}
		p := s.byName[name]
		if p == nil {
			return unknownParam(name, s, source)
		}
		var err error
		if list, ok := values[key].([]any); ok && p.value.Kind() == reflect.Slice {
			items := make([]string, len(list))
			for i, item := range list {
				items[i] = fmt.Sprint(item)
			}
			err = p.setItems(items, source)
		} else if values[key] == nil {
			err = fmt.Errorf("it has no value")
		} else {
			err = p.set(fmt.Sprint(values[key]), source)
		}
		if err != nil {
			return diag.Errorf(diag.Invalid, "parameter '%s' in %s: %w", name, source, err)
		}
	}
	return nil
}

func unknownParam(name string, s *paramSet, source string) error {
	names := slices.Sorted(maps.Keys(s.byName))
	return diag.Errorf(diag.Invalid, "no parameter '%s' (%s)%s", name, source, diag.DidYouMean(name, names)).
		WithHint("the parameters are: %s", strings.Join(names, ", "))
}

// fromEnv sets what the environment sets and the command line does not.
func (s *paramSet) fromEnv(lookup func(string) (string, bool)) error {
	for _, p := range s.params {
		if text, ok := lookup(p.variable()); ok {
			if err := p.set(text, p.variable()); err != nil {
				return diag.Errorf(diag.Invalid, "parameter '%s' from %s: %w", p.name, p.variable(), err)
			}
		}
	}
	return nil
}

// close checks that what is required is there.
func (s *paramSet) close() error {
	for _, p := range s.params {
		if p.required && p.source == "" {
			e := diag.Errorf(diag.Invalid, "parameter '%s' is required", p.name)
			if p.secret {
				return e.WithHint("set it with the environment variable %s", p.variable())
			}
			return e.WithHint("give it with --%s", p.name)
		}
	}
	s.value = s.target.Interface()
	return nil
}

// records is the parameters as they are recorded with the run.
func (s *paramSet) records() map[string]*stepv1.Parameter {
	out := make(map[string]*stepv1.Parameter, len(s.params))
	for _, p := range s.params {
		r := &stepv1.Parameter{Secret: p.secret}
		if !p.secret {
			r.Value = p.json()
		}
		out[p.name] = r
	}
	return out
}

// json is the value for people: a duration as its text.
func (p *param) json() []byte {
	if p.value.Type() == typeDuration {
		return mustJSON(p.text())
	}
	data, err := json.Marshal(p.value.Interface())
	if err != nil {
		return mustJSON(p.text())
	}
	return data
}

// secrets gives the texts of the secret parameters by name.
func (s *paramSet) secrets() map[string]string {
	out := map[string]string{}
	for _, p := range s.params {
		if p.secret {
			out[p.name] = p.text()
		}
	}
	return out
}
