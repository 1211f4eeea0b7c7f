package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// long reports whether this is `make test-long`, which leaves nothing out.
func long() bool { return os.Getenv("CAIRN_TEST_LONG") != "" }

// TestKilledAgainInTheResume kills at a point, and kills the resume at another
// one: pairs drawn by a fixed seed, or all of them in the long run.
func TestKilledAgainInTheResume(t *testing.T) {
	first := faultPoints(t)
	// A resume passes no point that a run from the beginning, or the resume of
	// one, does not.
	p := newPlace(t, filepath.Join(bins, "faulty"))
	p.run("program", []string{"CAIRN_FAULT=engine.job.handed-out:1:kill"})
	p.quiet()
	second := p.points("cairn", "run", "resume", "latest")
	var pairs [][2]string
	for _, k1 := range first {
		for _, k2 := range second {
			pairs = append(pairs, [2]string{k1, k2})
		}
	}
	if !long() {
		random := rand.New(rand.NewPCG(1, 2))
		random.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		pairs = pairs[:12]
	}
	for _, pair := range pairs {
		k1, k2 := strings.ReplaceAll(pair[0], " ", ":"), strings.ReplaceAll(pair[1], " ", ":")
		t.Run(fmt.Sprintf("%s-%s", k1, k2), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, filepath.Join(bins, "faulty"))
			r1 := p.run("program", []string{"CAIRN_FAULT=" + k1 + ":kill"})
			p.quiet()
			// Where nothing became durable this says that there is no such run.
			r2 := p.run("cairn", []string{"CAIRN_FAULT=" + k2 + ":kill"}, "run", "resume", "latest")
			noTrace(t, r1)
			noTrace(t, r2)
			p.quiet()
			p.checkFinished(2, r1.Stdout, r2.Stdout, p.finish())
		})
	}
}
