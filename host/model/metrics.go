package model

import (
	"encoding/json"
	"fmt"
	"math"
)

// Metrics are the last values of a step's metrics, by name. In JSON NaN and the
// infinities, which a diverging training gives, are strings.
type Metrics map[string]float64

// MarshalJSON writes numbers, and "NaN", "Infinity" and "-Infinity".
func (m Metrics) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(m))
	for name, v := range m {
		switch {
		case math.IsNaN(v):
			out[name] = "NaN"
		case math.IsInf(v, 1):
			out[name] = "Infinity"
		case math.IsInf(v, -1):
			out[name] = "-Infinity"
		default:
			out[name] = v
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	var raw map[string]any
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*m = make(Metrics, len(raw))
	for name, r := range raw {
		switch v := r.(type) {
		case float64:
			(*m)[name] = v
		case string:
			special, ok := map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)}[v]
			if !ok {
				return fmt.Errorf("metric %q is %q, not a number", name, v)
			}
			(*m)[name] = special
		default:
			return fmt.Errorf("metric %q is not a number", name)
		}
	}
	return nil
}
