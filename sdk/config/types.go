package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Secret is a string that is a secret: in a stored configuration it is only ever
// a reference such as "{{aws.key}}", and its value is never printed.
type Secret struct{ value []byte }

// NewSecret makes a Secret, for tests.
func NewSecret(value string) Secret { return Secret{[]byte(value)} }

// Value is the secret itself; empty where none is set, and after Wipe.
func (s Secret) Value() string { return string(s.value) }

// IsSet reports whether there is a value.
func (s Secret) IsSet() bool { return len(s.value) > 0 }

// String hides the value.
func (s Secret) String() string { return "(secret)" }

// GoString hides the value.
func (s Secret) GoString() string { return "(secret)" }

// MarshalJSON hides the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// UnmarshalJSON takes the value.
func (s *Secret) UnmarshalJSON(data []byte) error {
	var v string
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("a secret is not a string")
	}
	s.value = []byte(v)
	return nil
}

// Duration is a span of time; in JSON a string such as "1m30s".
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the duration as in "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Wipe overwrites the value of each Secret in what cfg points to, as far as Go
// lets it: copies that were made with Value stay.
func Wipe(cfg any) {
	if v := reflect.ValueOf(cfg); v.Kind() == reflect.Pointer && !v.IsNil() {
		wipe(v.Elem())
	}
}

func wipe(v reflect.Value) {
	if v.Type() == secretType {
		if s, ok := v.Interface().(Secret); ok {
			clear(s.value)
		}
		if v.CanSet() {
			v.SetZero()
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			wipe(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				wipe(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			wipe(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			wipe(v.MapIndex(k))
		}
	}
}
