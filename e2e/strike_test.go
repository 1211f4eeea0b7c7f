package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pidOf waits for a process of the place whose command line has the word.
func (p *place) pidOf(word string, not ...int) int {
	p.t.Helper()
	found := 0
	eventually(p.t, soon, "there: "+word, func() bool {
	next:
		for pid, cmd := range p.processes() {
			if !strings.Contains(cmd, word) {
				continue
			}
			for _, n := range not {
				if pid == n {
					continue next
				}
			}
			found = pid
			return true
		}
		return false
	})
	return found
}

// stopped reports whether a process is stopped by a signal.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// A plugin that dies, before a put or in the middle of one, costs an attempt at
// most: the run fails with the plugin's name, or goes on; and can be resumed.
func TestPluginKilled(t *testing.T) {
	for name, middle := range map[string]bool{"before the put": false, "in the put": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, bins)
			s := p.inStepB()
			plugin := p.pidOf("cairn-plugin-local")
			if middle {
				// Stopped, it holds the call in its hands.
				syscall.Kill(plugin, syscall.SIGSTOP)
				p.release()
				eventually(t, soon, "at the put", func() bool { return p.count("end:b") == 1 })
				eventually(t, soon, "put", func() bool {
					results, _ := filepath.Glob(filepath.Join(p.home(), "artifacts", ".cairn", "staging", "*", "result"))
					return len(results) == 1
				})
			}
			kill(t, plugin)
			p.release()
			if code := s.exit(t); code != 0 && !strings.Contains(s.output(), "plugin local") {
				t.Errorf("exit %d, and nothing names the plugin:\n%s", code, s.output())
			}
			noTrace(t, result{Stderr: s.output()})
			p.checkPromises(s.output())
			p.checkFinished(1, s.output(), p.finish())
		})
	}
}

// A guard that is killed is replaced while its host lives; killed together with
// its host, nothing but the runtime directory may stay until the next host.
func TestGuardKilled(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t, bins)
		s := p.inStepB()
		guard := p.pidOf("__guard")
		kill(t, guard)
		p.pidOf("__guard", guard)
		kill(t, p.hostPID())
		if code := s.exit(t); code == 0 {
			t.Errorf("the program ended well:\n%s", s.output())
		}
		p.quiet()
		p.release()
		p.checkFinished(1, s.output(), p.finish())
	})
	t.Run("with its host", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t, bins)
		s := p.inStepB()
		guard, host := p.pidOf("__guard"), p.hostPID()
		syscall.Kill(host, syscall.SIGSTOP) // or it would replace the guard
		kill(t, guard)
		kill(t, host)
		if code := s.exit(t); code == 0 {
			t.Errorf("the program ended well:\n%s", s.output())
		}
		p.quiet()
		p.release()
		p.checkFinished(1, s.output(), p.finish())
	})
}

// TestStoppedAtEveryFaultPoint stops whichever process comes to a point, has
// another host take the run over, and lets the first go on: it may write nothing
// any more. Where it was stopped with the database in its hands, the other host
// is refused and says who holds it, and the first one ends the run.
func TestStoppedAtEveryFaultPoint(t *testing.T) {
	points := faultPoints(t)
	for i, point := range points {
		if !long() && i%6 != 0 {
			continue
		}
		at := strings.ReplaceAll(point, " ", ":")
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, filepath.Join(bins, "faulty"))
			p.env = append(p.env, "CAIRN_FAULT="+at+":stop")
			s := p.start("program")
			p.env = p.env[:len(p.env)-1]
			pid := 0
			eventually(t, soon, "stopped", func() bool {
				for id := range p.processes() {
					if stopped(id) {
						pid = id
					}
				}
				return pid != 0
			})
			list := p.run("cairn", nil, "run", "list", "--output", "json")
			if list.Code != 0 && !strings.Contains(list.Stderr, fmt.Sprintf("kill -9 %d", pid)) {
				t.Errorf("the refusal does not name the process that migrates (%d): %v", pid, list)
			}
			if list.Code != 0 || len(p.runs()) == 0 {
				syscall.Kill(pid, syscall.SIGCONT)
				s.exit(t)
				p.checkFinished(0, s.output())
				return
			}
			r := p.run("cairn", nil, "run", "resume", "latest", "--take-over")
			noTrace(t, r)
			if r.Code != 0 {
				if !strings.Contains(r.Stderr, fmt.Sprint(pid)) && !strings.Contains(r.Stderr, "completed") {
					t.Errorf("the refusal does not say who holds the database (%d): %v", pid, r)
				}
				syscall.Kill(pid, syscall.SIGCONT)
				s.exit(t)
				p.checkFinished(1, s.output(), p.finish())
				return
			}
			before := p.journal("latest")
			syscall.Kill(pid, syscall.SIGCONT)
			code := s.exit(t)
			p.quiet()
			if after := p.journal("latest"); after != before {
				t.Errorf("the fenced host wrote:\n%s\nbefore:\n%s", after, before)
			}
			if code != 6 && code != 0 {
				t.Errorf("the fenced program ended with %d:\n%s", code, s.output())
			}
			p.checkPromises(s.output(), r.Stdout)
			p.checkFinished(len(steps), s.output(), r.Stdout)
		})
	}
}

// Of two that resume one run at once, one goes on with it and the other is
// refused, by name of the run's owner.
func TestTwoResumeAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	s := p.inStepB()
	kill(t, s.Process.Pid)
	s.exit(t)
	p.quiet()
	one, two := p.start("cairn", "run", "resume", "latest"), p.start("cairn", "run", "resume", "latest")
	var loser, winner *started
	select {
	case <-one.exited:
		loser, winner = one, two
	case <-two.exited:
		loser, winner = two, one
	case <-time.After(soon):
		t.Fatalf("both go on:\n%s\n%s", one.output(), two.output())
	}
	if code := loser.exit(t); code != 4 || !strings.Contains(loser.output(), "program-1") {
		t.Errorf("the loser ended with %d:\n%s", code, loser.output())
	}
	p.release()
	if code := winner.exit(t); code != 0 {
		t.Errorf("the winner ended with %d:\n%s", code, winner.output())
	}
	p.checkFinished(1, winner.output(), s.output())
}
