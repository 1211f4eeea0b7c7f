package pipeline

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

var (
	typeMarshaler       = reflect.TypeFor[json.Marshaler]()
	typeUnmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	typeTextMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	typeTextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// hasOwnJSON reports whether a type says itself how it is written and read.
func hasOwnJSON(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(typeMarshaler) && p.Implements(typeUnmarshaler) ||
		p.Implements(typeTextMarshaler) && p.Implements(typeTextUnmarshaler)
}

// checkJSONType says why values of a type would not come back from JSON as they
// were, naming the field.
func checkJSONType(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	if isContentType(t) {
		return fmt.Errorf("%s is a %s, which is stored as a file of its own: make it a field of the result itself, or the result", path, typeName(t))
	}
	if seen[t] || hasOwnJSON(t) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return fmt.Errorf("%s is a %s, which has no stored form", path, typeName(t))
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%s is the interface %s, whose value could not be read again; use the type itself", path, typeName(t))
		}
	case reflect.Pointer, reflect.Array:
		return checkJSONType(t.Elem(), path, seen)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
		return checkJSONType(t.Elem(), path+"[]", seen)
	case reflect.Map:
		switch k := t.Key(); k.Kind() {
		case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		default:
			if !k.Implements(typeTextMarshaler) || !reflect.PointerTo(k).Implements(typeTextUnmarshaler) {
				return fmt.Errorf("%s is a map with keys of type %s, which has no stored form", path, typeName(k))
			}
		}
		return checkJSONType(t.Elem(), path+"[]", seen)
	case reflect.Struct:
		return checkJSONStruct(t, path, seen)
	}
	return nil
}

func checkJSONStruct(t reflect.Type, path string, seen map[reflect.Type]bool) error {
	names := map[string]string{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct
		if !f.IsExported() && !embedded {
			return fmt.Errorf("field %s of %s (%s) is not exported, so it would be lost; export it, leave it out with the tag `json:\"-\"`, or give the type MarshalJSON and UnmarshalJSON", f.Name, typeName(t), path)
		}
		name, _, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if other := names[strings.ToLower(name)]; other != "" && !embedded {
			return fmt.Errorf("fields %s and %s of %s (%s) have the same name in JSON", other, f.Name, typeName(t), path)
		}
		names[strings.ToLower(name)] = f.Name
		if err := checkJSONType(f.Type, path+"."+f.Name, seen); err != nil {
			return err
		}
	}
	return nil
}

// literalJSON is the JSON of a literal.
func literalJSON(v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.Interface || !v.IsNil() {
		if err := checkJSONType(v.Type(), typeName(v.Type()), map[reflect.Type]bool{}); err != nil {
			return nil, err
		}
	}
	return toJSON(v)
}

// toJSON gives the JSON of a value. Where there is none, or where it would not
// come back as it was, the error names the field.
func toJSON(v reflect.Value) ([]byte, error) {
	if !v.CanAddr() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p.Elem()
	}
	data, err := json.Marshal(v.Addr().Interface())
	// The escape stands for a byte that is not UTF-8, or is text as it was.
	if err == nil && !bytes.Contains(data, []byte(`\ufffd`)) {
		return data, nil
	}
	if bad := findUnstorable(v, typeName(v.Type()), nil); bad != nil {
		return nil, bad
	}
	return data, err
}

// findUnstorable finds the first part of a value that JSON cannot hold.
func findUnstorable(v reflect.Value, path string, above []uintptr) error {
	if !v.IsValid() {
		return nil
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%s is %v, which JSON cannot hold", path, f)
		}
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return fmt.Errorf("%s is text that is not UTF-8; use []byte", path)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128:
		return fmt.Errorf("%s is a %s, which has no stored form", path, typeName(v.Type()))
	case reflect.Interface:
		return findUnstorable(v.Elem(), path, above)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		above, err := descend(v.Pointer(), path, above)
		if err != nil {
			return err
		}
		return findUnstorable(v.Elem(), path, above)
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Len() > 0 {
			var err error
			if above, err = descend(v.Pointer(), path, above); err != nil {
				return err
			}
		}
		for i := range v.Len() {
			if err := findUnstorable(v.Index(i), fmt.Sprintf("%s[%d]", path, i), above); err != nil {
				return err
			}
		}
	case reflect.Map:
		above, err := descend(v.Pointer(), path, above)
		if err != nil {
			return err
		}
		for it := v.MapRange(); it.Next(); {
			key := fmt.Sprintf("%s[%v]", path, it.Key())
			if err := errors.Join(findUnstorable(it.Key(), key, above), findUnstorable(it.Value(), key, above)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Tag.Get("json") == "-" {
				continue
			}
			if err := findUnstorable(v.Field(i), path+"."+f.Name, above); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxDepth is how deep a value can be before it counts as one that holds
// itself.
const maxDepth = 1000

func descend(p uintptr, path string, above []uintptr) ([]uintptr, error) {
	for _, a := range above {
		if a == p && p != 0 {
			return nil, fmt.Errorf("%s holds itself, so it has no end", path)
		}
	}
	if len(above) > maxDepth {
		return nil, errors.New("it is nested too deeply to be stored")
	}
	return append(above[:len(above):len(above)], p), nil
}
