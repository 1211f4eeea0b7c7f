package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Twenty programs at once on a home that none of them has made yet, and ten who
// look at it meanwhile: nobody sees an error, every run completes.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	const programs, readers = 20, 10
	results := make([]result, programs+readers)
	verbs := [][]string{
		{"run", "list"}, {"stack", "list"}, {"status"}, {"artifact", "list"}, {"stack", "describe", "default"},
		{"flavor", "list"}, {"plugin", "list"}, {"secret", "list"}, {"orchestrator", "list"}, {"artifact-store", "list"},
	}
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			if i < programs {
				results[i] = p.run("program", nil)
			} else {
				results[i] = p.run("cairn", nil, verbs[i-programs]...)
			}
		})
	}
	wg.Wait()
	var printed []string
	for i, r := range results {
		// "No runs" is said there too, and is no error.
		if r.Code != 0 || strings.Contains(r.Stderr, "error") || strings.Contains(r.Stderr, "goroutine ") {
			t.Errorf("%d: %v", i, r)
		}
		if i < programs {
			printed = append(printed, r.Stdout)
		}
	}
	names := map[string]bool{}
	for _, r := range p.runs() {
		names[r.Name] = true
		if r.State != "completed" {
			t.Errorf("%s is %s", r.Name, r.State)
		}
	}
	for i := range programs {
		if name := fmt.Sprintf("program-%d", i+1); !names[name] {
			t.Errorf("there is no run %s", name)
		}
	}
	p.checkPromises(printed...)
	p.checkClean()
}
