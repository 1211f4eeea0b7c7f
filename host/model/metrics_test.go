package model

import (
	"encoding/json"
	"math"
	"testing"
)

func TestMetricsKeepWhatJSONCannot(t *testing.T) {
	t.Parallel()
	in := Metrics{"loss": math.NaN(), "up": math.Inf(1), "down": math.Inf(-1), "accuracy": 0.97}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Metrics
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(out["loss"]) || !math.IsInf(out["up"], 1) || !math.IsInf(out["down"], -1) || out["accuracy"] != 0.97 || len(out) != 4 {
		t.Errorf("%s became %v", data, out)
	}
	for _, bad := range []string{`{"a":"much"}`, `{"a":null}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
