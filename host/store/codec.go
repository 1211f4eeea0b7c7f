package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// micros is a time as it is stored; NULL for the zero time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// timeInto scans what micros stored.
type timeInto struct{ t *time.Time }

// Scan implements sql.Scanner.
func (s timeInto) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.t = time.Time{}
	case int64:
		*s.t = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("a time is stored as %T", v)
	}
	return nil
}

// jsonMap is a map as JSON; NULL where it is empty.
func jsonMap[M ~map[K]V, K ~string, V any](m M) (any, error) {
	if len(m) == 0 {
		return nil, nil
	}
	return jsonText(m)
}

// jsonText is a value as JSON.
func jsonText(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

// jsonInto scans JSON into the value that it points to; NULL leaves it alone.
type jsonInto struct{ v any }

// Scan implements sql.Scanner.
func (s jsonInto) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return json.Unmarshal([]byte(v), s.v)
	case []byte:
		return json.Unmarshal(v, s.v)
	default:
		return fmt.Errorf("JSON is stored as %T", v)
	}
}
