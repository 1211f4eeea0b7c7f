package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// steps of the test program, in the order in which they run.
var steps = []string{"a", "b", "c"}

// faultPoints runs the program once and gives every "POINT N" that was hit, in
// the host or in the program.
func faultPoints(t *testing.T) []string {
	t.Helper()
	p := newPlace(t, filepath.Join(bins, "faulty"))
	record := filepath.Join(p.dir, "points")
	if r := p.run("program", []string{"CAIRN_FAULT_RECORD=" + record}); r.Code != 0 {
		t.Fatalf("the program without a fault: %v", r)
	}
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	seen := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if !seen[s.Text()] {
			seen[s.Text()] = true
			points = append(points, s.Text())
		}
	}
	return points
}

// TestKilledAtEveryFaultPoint kills whichever process comes to a fault point,
// at every point of a small run, resumes, and checks what must hold.
func TestKilledAtEveryFaultPoint(t *testing.T) {
	points := faultPoints(t)
	if len(points) < 20 {
		t.Fatalf("only %d fault points were hit: %v", len(points), points)
	}
	for _, point := range points {
		name, n, _ := strings.Cut(point, " ")
		t.Run(fmt.Sprintf("%s-%s", name, n), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, filepath.Join(bins, "faulty"))
			r := p.run("program", []string{fmt.Sprintf("CAIRN_FAULT=%s:%s:kill", name, n)})
			if strings.Contains(r.Stderr, "panic:") || strings.Contains(r.Stderr, "goroutine ") {
				t.Errorf("a stack trace was shown: %v", r)
			}
			p.finish(t)
			p.checkFinished(t)
		})
	}
}

// TestErrorAtEveryFaultPoint has each point fail instead of the process.
func TestErrorAtEveryFaultPoint(t *testing.T) {
	for _, point := range faultPoints(t) {
		name, n, _ := strings.Cut(point, " ")
		t.Run(fmt.Sprintf("%s-%s", name, n), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, filepath.Join(bins, "faulty"))
			r := p.run("program", []string{fmt.Sprintf("CAIRN_FAULT=%s:%s:error", name, n)})
			if strings.Contains(r.Stderr, "panic:") || strings.Contains(r.Stderr, "goroutine ") {
				t.Errorf("a stack trace was shown: %v", r)
			}
			p.finish(t)
			p.checkFinished(t)
		})
	}
}

type runView struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// finish brings the place to a completed run: resumes the one that stands, or
// starts the program again where none became durable.
func (p *place) finish(t *testing.T) {
	t.Helper()
	var before string
	eventually(t, 10*time.Second, "settled", func() bool {
		runs := cairnJSON[[]runView](p, "run", "list")
		if len(runs) == 0 {
			before = ""
			return len(p.processes()) == 0
		}
		before = runs[0].State
		return before != "running"
	})
	switch before {
	case "completed":
	case "":
		if r := p.run("program", nil); r.Code != 0 {
			t.Fatalf("the program again: %v", r)
		}
	default:
		if r := p.run("cairn", nil, "run", "resume", "latest"); r.Code != 0 {
			t.Fatalf("resume of a run that was %s: %v\nledger %v", before, r, p.ledger())
		}
	}
}

// checkFinished checks the promises: one completed run, no finished step run
// twice, every artifact whole, nothing left behind.
func (p *place) checkFinished(t *testing.T) {
	t.Helper()
	runs := cairnJSON[[]runView](p, "run", "list")
	if len(runs) != 1 || runs[0].State != "completed" {
		t.Fatalf("runs are %+v", runs)
	}
	repeated := 0
	for _, s := range steps {
		starts, ends := p.count("start:"+s), p.count("end:"+s)
		if starts < 1 || ends < 1 {
			t.Errorf("step %s: %d starts, %d ends", s, starts, ends)
		}
		if starts > 1 {
			repeated++
		}
		if starts > 2 {
			t.Errorf("step %s ran %d times for one fault", s, starts)
		}
	}
	if repeated > 1 {
		t.Errorf("more than the step in hand was repeated: %v", p.ledger())
	}
	if r := p.run("cairn", nil, "artifact", "verify"); r.Code != 0 {
		t.Errorf("artifact verify: %v", r)
	}
	if got := p.cairn("artifact", "get", "c.output:latest", "--to", "-"); strings.TrimSpace(got) != "3" {
		t.Errorf("the last step's value is %q, want 3", got)
	}
	p.checkClean(t)
}

// checkClean checks that no process and no runtime directory is left.
func (p *place) checkClean(t *testing.T) {
	t.Helper()
	eventually(t, 2*time.Second, "clean", func() bool { return len(p.processes()) == 0 })
	left, err := os.ReadDir(filepath.Join(p.dir, "run", "cairn"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("left in the runtime directory: %s", e.Name())
	}
}
