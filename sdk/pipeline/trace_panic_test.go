package pipeline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

func fails(v []int) int {
	slices.SortFunc(v, func(a, _ int) int { return v[a] })
	return 0
}

// A panic below a library's function shows the user's frames, and no other.
func TestTraceOfAPanicHasTheUsersFrames(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
		trace := pipeline.UserFrames()
		if !strings.Contains(trace, "pipeline_test.fails") || !strings.Contains(trace, "trace_panic_test.go:") {
			t.Errorf("the user's function is not there:\n%s", trace)
		}
		if strings.Contains(trace, "slices.") || strings.Contains(trace, "runtime.") || strings.Contains(trace, "testing.") {
			t.Errorf("frames of others are there:\n%s", trace)
		}
	}()
	fails([]int{1000, 2000})
}
