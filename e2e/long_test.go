package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// usage is what a process holds.
type usage struct{ rss, files int }

func usageOf(pid int) (u usage) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			u.rss, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.files = len(open)
	return u
}

// A long run takes no more of the machine at its end than early on: memory,
// descriptors, and what lies in staging.
func TestLongRunDoesNotLeak(t *testing.T) {
	t.Parallel()
	n := 300
	if long() {
		n = 2000
	}
	p := newPlace(t, bins)
	chain := filepath.Join(bins, "chain")
	build := exec.Command("go", "build", "-o", chain, "../bench/chain")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := p.start("chain", "--steps", fmt.Sprint(n))
	host := p.hostPID()
	var early, most usage
	for running := true; running; {
		select {
		case <-s.exited:
			running = false
		case <-time.After(5 * time.Millisecond):
			u := usageOf(host)
			most = usage{max(most.rss, u.rss), max(most.files, u.files)}
			if early.files == 0 && strings.Count(s.output(), "✓") >= n/10 {
				early = most
			}
		}
	}
	if code := s.exit(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, s.output())
	}
	t.Logf("%d steps: memory %d to %d KiB, descriptors %d to %d", n, early.rss, most.rss, early.files, most.files)
	if most.files > early.files+16 {
		t.Errorf("descriptors grew from %d to %d", early.files, most.files)
	}
	// Each step keeps what the journal's fold needs: some KiB.
	if grown := most.rss - early.rss; grown > 16<<10+8*n {
		t.Errorf("memory grew by %d KiB in %d steps", grown, n)
	}
	p.quiet()
	if left := p.leftOvers(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	log, err := os.ReadFile(filepath.Join(p.home(), "logs", "host.log"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, []byte("WARN")) || bytes.Contains(log, []byte("ERROR")) || len(log) > 64<<10 {
		t.Errorf("the host's log has %d bytes:\n%s", len(log), log[:min(len(log), 4096)])
	}
}
