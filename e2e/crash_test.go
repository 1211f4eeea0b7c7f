package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// steps of the test program, in the order in which they run.
var steps = []string{"a", "b", "c"}

// faultPoints runs the program once and gives every "POINT N" that was hit, in
// the host or in the program.
func faultPoints(t *testing.T) []string {
	t.Helper()
	p := newPlace(t, filepath.Join(bins, "faulty"))
	return p.points("program")
}

// points runs a binary to a good end and gives every "POINT N" that was hit.
func (p *place) points(name string, args ...string) []string {
	t := p.t
	t.Helper()
	record := filepath.Join(p.dir, "points")
	if r := p.run(name, []string{"CAIRN_FAULT_RECORD=" + record}, args...); r.Code != 0 {
		t.Fatalf("%s %v without a fault: %v", name, args, r)
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
			noTrace(t, r)
			p.checkFinished(1, r.Stdout, p.finish())
		})
	}
}

// TestErrorAtEveryFaultPoint has each point fail instead of the process.
func TestErrorAtEveryFaultPoint(t *testing.T) {
	for i, point := range faultPoints(t) {
		if !long() && i%3 != 0 {
			continue
		}
		name, n, _ := strings.Cut(point, " ")
		t.Run(fmt.Sprintf("%s-%s", name, n), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, filepath.Join(bins, "faulty"))
			r := p.run("program", []string{fmt.Sprintf("CAIRN_FAULT=%s:%s:error", name, n)})
			noTrace(t, r)
			p.checkFinished(1, r.Stdout, p.finish())
		})
	}
}

// finish brings the place to a completed run: resumes the one that stands, or
// starts the program again where none became durable. It gives what that
// printed.
func (p *place) finish() string {
	t := p.t
	t.Helper()
	p.quiet()
	state := ""
	eventually(t, soon, "settled", func() bool {
		if runs := p.runs(); len(runs) > 0 {
			state = runs[0].State
		}
		return state != "running"
	})
	var r result
	switch state {
	case "completed":
	case "":
		r = p.run("program", nil)
	default:
		r = p.run("cairn", nil, "run", "resume", "latest")
	}
	if r.Code != 0 {
		t.Fatalf("going on with a run that was %q: %v\nledger %v", state, r, p.ledger())
	}
	return r.Stdout
}

// checkFinished checks that there is one run, that it is completed, and that at
// most as many steps as there were faults ran once more.
func (p *place) checkFinished(faults int, printed ...string) {
	t := p.t
	t.Helper()
	if runs := p.runs(); len(runs) != 1 || runs[0].State != "completed" {
		t.Fatalf("runs are %+v", runs)
	}
	again := 0
	for _, s := range steps {
		starts, ends := p.count("start:"+s), p.count("end:"+s)
		if starts < 1 || ends < 1 {
			t.Errorf("step %s: %d starts, %d ends", s, starts, ends)
		}
		again += starts - 1
	}
	if again > faults {
		t.Errorf("%d faults, and steps ran %d times more: %v", faults, again, p.ledger())
	}
	if got := p.cairn("artifact", "get", "c.output:latest", "--to", "-"); strings.TrimSpace(got) != "3" {
		t.Errorf("the last step's value is %q, want 3", got)
	}
	p.checkPromises(printed...)
	p.checkClean()
}
