package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// soon is the deadline of what happens at once on a machine that is not busy.
const soon = 30 * time.Second

type runView struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
	Epoch int64  `json:"epoch"`
	Steps []struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Attempts []struct {
			Number int    `json:"number"`
			State  string `json:"state"`
		} `json:"attempts"`
		Outputs []struct {
			Artifact string `json:"artifact"`
		} `json:"outputs"`
	} `json:"steps"`
}

type artifactView struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	Tree      bool   `json:"tree"`
	Run       string `json:"run"`
	Step      string `json:"step"`
	Output    string `json:"output"`
}

func (p *place) runs() []runView {
	p.t.Helper()
	return cairnJSON[[]runView](p, "run", "list", "--limit", "0")
}

func (p *place) describe(run string) runView {
	p.t.Helper()
	return cairnJSON[runView](p, "run", "describe", run)
}

var (
	ackRun  = regexp.MustCompile(`(?m)^(?:Run|Going on with run) (\S+) of pipeline`)
	ackStep = regexp.MustCompile(`(?m)^  ✓ (\S+)`)
	ackEnd  = regexp.MustCompile(`(?m)^Run (\S+) completed`)
)

// checkPromises compares what programs were told (what they printed), what the
// journal says, what the store holds and what the ledger counted. It holds at
// any moment at which no process of the place is at work.
func (p *place) checkPromises(printed ...string) {
	t := p.t
	t.Helper()
	byName := map[string]runView{}
	for _, r := range p.runs() {
		if _, twice := byName[r.Name]; twice {
			t.Errorf("two runs are called %s", r.Name)
		}
		byName[r.Name] = p.describe(r.ID)
	}
	p.checkArtifacts(byName)
	attempts := map[string]int{}
	for _, r := range byName {
		p.checkRun(r)
		for _, s := range r.Steps {
			attempts[s.Name] += len(s.Attempts)
		}
	}
	// Outside of the journal: an attempt runs at most once.
	for step, n := range attempts {
		if starts := p.count("start:" + step); starts > n {
			t.Errorf("step %s ran %d times in %d attempts: %v", step, starts, n, p.ledger())
		}
	}
	p.checkAcknowledged(byName, printed)
}

// checkAcknowledged checks that what a program was told is so.
func (p *place) checkAcknowledged(byName map[string]runView, printed []string) {
	p.t.Helper()
	for _, out := range printed {
		run := ackRun.FindStringSubmatch(out)
		if run == nil {
			continue
		}
		r, ok := byName[run[1]]
		if !ok {
			p.t.Errorf("run %s was acknowledged and is not there", run[1])
			continue
		}
		for _, step := range ackStep.FindAllStringSubmatch(out, -1) {
			if got := r.step(step[1]); got != "completed" {
				p.t.Errorf("step %s of %s was acknowledged and is %q", step[1], r.Name, got)
			}
		}
		if end := ackEnd.FindStringSubmatch(out); end != nil && r.State != "completed" {
			p.t.Errorf("run %s was said to be completed and is %s", r.Name, r.State)
		}
	}
}

func (r runView) step(name string) string {
	for _, s := range r.Steps {
		if s.Name == name {
			return s.State
		}
	}
	return ""
}

// checkRun checks one run's journal: attempts are counted without a gap, at most
// one is published, and nothing came after it.
func (p *place) checkRun(r runView) {
	p.t.Helper()
	for _, s := range r.Steps {
		published := 0
		for i, a := range s.Attempts {
			if a.Number != i+1 {
				p.t.Errorf("%s: attempt %d of step %s has number %d", r.Name, i+1, s.Name, a.Number)
			}
			if a.State != "completed" {
				continue
			}
			published++
			if i != len(s.Attempts)-1 {
				p.t.Errorf("%s: step %s has an attempt after its published one", r.Name, s.Name)
			}
		}
		if s.State == "completed" && (published != 1 || len(s.Outputs) == 0) || s.State != "completed" && published != 0 {
			p.t.Errorf("%s: step %s is %s with %d published attempts and %d outputs", r.Name, s.Name, s.State, published, len(s.Outputs))
		}
		if r.State == "completed" && s.State != "completed" {
			p.t.Errorf("%s is completed, and its step %s %s", r.Name, s.Name, s.State)
		}
	}
}

// checkArtifacts checks that each published output is there, once, and that the
// bytes that the store holds are those of their names.
func (p *place) checkArtifacts(byName map[string]runView) {
	t := p.t
	t.Helper()
	stored := map[string]bool{}
	for _, file := range p.stored() {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if got := digestOf(data); strings.ReplaceAll(got, ":", "-") != name {
			t.Errorf("the bytes of %s hash to %s", name, got)
		}
		stored[name] = true
	}
	seen, published := map[string]bool{}, map[string]bool{}
	for _, a := range cairnJSON[[]artifactView](p, "artifact", "list", "--all-versions", "--limit", "0") {
		if seen[a.Reference] || published[a.Run+"/"+a.Step+"/"+a.Output] {
			t.Errorf("artifact %s was published twice", a.Reference)
		}
		seen[a.Reference], published[a.Run+"/"+a.Step+"/"+a.Output] = true, true
		if !stored[strings.ReplaceAll(a.Digest, ":", "-")] {
			t.Errorf("artifact %s is committed and not in the store", a.Reference)
		}
	}
	for _, r := range byName {
		for _, s := range r.Steps {
			for _, out := range s.Outputs {
				if out.Artifact != "" && !seen[out.Artifact] {
					t.Errorf("%s: output %s of step %s is no artifact", r.Name, out.Artifact, s.Name)
				}
			}
		}
	}
	if len(seen) == 0 || !long() {
		return // the bytes were hashed here
	}
	if r := p.run("cairn", nil, "artifact", "verify"); r.Code != 0 {
		t.Errorf("artifact verify: %v", r)
	}
}

// stored gives the files of the default store's contents.
func (p *place) stored() []string {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.home(), "artifacts", "h", "*", "c", "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return files
}

// digestOf is the digest by its definition: SHA-256 over the SHA-256s of parts
// of 4 MiB.
func digestOf(data []byte) string {
	whole := sha256.New()
	for part := range slices.Chunk(data, 4<<20) {
		sum := sha256.Sum256(part)
		whole.Write(sum[:])
	}
	return "sha256t:" + hex.EncodeToString(whole.Sum(nil))
}

// checkClean checks that nothing is left but the home: no process, nothing in
// the runtime directory, no lock of a host, no attempt's files. What a host left
// that was killed, the next one removes.
func (p *place) checkClean() {
	p.t.Helper()
	p.quiet()
	if left := p.leftOvers(); len(left) == 0 {
		return
	}
	if r := p.run("program", []string{"LEDGER=" + p.Ledger + ".clean"}); r.Code != 0 {
		p.t.Fatalf("one more run: %v", r)
	}
	p.quiet()
	if left := p.leftOvers(); len(left) != 0 {
		p.t.Errorf("left after another host: %v", left)
	}
}

// leftOvers are the files that should be gone when all runs have ended. The
// small file of a host that was killed while it registered stays for an hour,
// and what a plugin wrote when it was killed for a day.
func (p *place) leftOvers() []string {
	p.t.Helper()
	var left []string
	for _, dir := range []string{
		filepath.Join(p.dir, "run", "cairn"), filepath.Join(p.home(), "hosts"),
		filepath.Join(p.home(), "artifacts", ".cairn", "staging"),
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".lock.new") {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
	}
	return left
}

// quiet waits until no process of the place is left.
func (p *place) quiet() {
	p.t.Helper()
	var left map[int]string
	for deadline := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		left = p.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("processes are left: %v", slices.Collect(maps.Values(left)))
		}
	}
}

// journal gives all that is known of a run, and what the store holds.
func (p *place) journal(run string) string {
	p.t.Helper()
	var all any
	if err := json.Unmarshal([]byte(p.cairn("run", "describe", run, "--output", "json")), &all); err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprint(all, cairnJSON[any](p, "artifact", "list", "--all-versions", "--limit", "0"), p.stored())
}

// noTrace checks that no stack trace was shown.
func noTrace(t *testing.T, r result) {
	t.Helper()
	if strings.Contains(r.Stderr, "panic:") || strings.Contains(r.Stderr, "goroutine ") {
		t.Errorf("a stack trace was shown: %v", r)
	}
}
