package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wholeProcess: a two-step pipeline program from its start to its end, against
// the floor program.
func wholeProcess(e *env, runs int) (time.Duration, time.Duration, error) {
	home, err := e.home("whole")
	if err != nil {
		return 0, 0, err
	}
	return inTurn(runs, e.command(home, "chain", "--steps", "2"),
		e.command(home, "floor", "run", filepath.Join(home, "floor.db"), home))
}

// chainStep: what a step more costs, from the difference between a long and a
// short chain, against a floor that makes as many commits and artifacts.
func chainStep(e *env, runs int) (time.Duration, time.Duration, error) {
	const long, short = 1000, 100
	home, err := e.home("chain-home")
	if err != nil {
		return 0, 0, err
	}
	chain := func() (time.Duration, error) {
		l, err := e.command(home, "chain", "--steps", strconv.Itoa(long))()
		if err != nil {
			return 0, err
		}
		s, err := e.command(home, "chain", "--steps", strconv.Itoa(short))()
		return (l - s) / (long - short), err
	}
	floor := func() (time.Duration, error) {
		out, err := exec.Command(e.bin("floor"), "commits", filepath.Join(home, "floor.db"), home, "500").Output()
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
		return time.Duration(ns), err
	}
	return inTurn(max(3, runs/5), chain, floor)
}

func stackList(e *env, runs int) (time.Duration, time.Duration, error) {
	home, err := e.home("stacks")
	if err != nil {
		return 0, 0, err
	}
	if err := seedStacks(e, home, 1000); err != nil {
		return 0, 0, err
	}
	return inTurn(runs, e.command(home, "cairn", "stack", "list"), e.command(home, "cairn", "version"))
}

func runList(e *env, runs int) (time.Duration, time.Duration, error) {
	home, err := e.home("runs")
	if err != nil {
		return 0, 0, err
	}
	if err := seedRuns(home, 100_000); err != nil {
		return 0, 0, err
	}
	return inTurn(runs, e.command(home, "cairn", "run", "list"), e.command(home, "cairn", "version"))
}

// seedStacks registers n stacks.
func seedStacks(e *env, home string, n int) error {
	for i := range n {
		cmd := exec.Command(e.bin("cairn"), "stack", "register", fmt.Sprintf("stack-%04d", i), "-o", "default", "-a", "default")
		cmd.Env = append(slices.Clone(e.vars), "CAIRN_HOME="+home)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("register a stack: %w\n%s", err, out.String())
		}
	}
	return nil
}
