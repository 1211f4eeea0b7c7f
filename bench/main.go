// Command bench measures cairn against a floor, both in the same run and in
// turn, so that a machine that is busy or slow moves both. It prints medians
// and ratios; a ratio above its bound is marked, and fails the command only
// beyond four times the bound.
//
//	go run ./bench [-runs N] [-only NAME]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	runs := flag.Int("runs", 15, "counted runs of each command")
	only := flag.String("only", "", "measure only the rows whose name has this in it")
	flag.Parse()
	if err := run(*runs, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A row is one line of the result: how long a work takes, against what.
type row struct {
	name    string
	floor   string
	bound   float64
	measure func(e *env, runs int) (work, floor time.Duration, err error)
}

func rows() []row {
	return []row{
		{"two-step pipeline, whole process", "floor program of the same shape", 2.5, wholeProcess},
		{"each further step of a 1000-step chain", "one commit, FULL, and one artifact with fsync", 2, chainStep},
		{"stack list with 1000 stacks", "cairn version", 3, stackList},
		{"run list with 100,000 runs", "cairn version", 3, runList},
	}
}

func run(runs int, only string) error {
	e, err := newEnv()
	if err != nil {
		return err
	}
	defer e.close()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORK\tCAIRN\tFLOOR\tRATIO\tAT MOST\t\tFLOOR IS")
	var far []string
	for _, r := range rows() {
		if !strings.Contains(r.name, only) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring:", r.name)
		work, floor, err := r.measure(e, runs)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		ratio := float64(work) / float64(floor)
		mark := ""
		if ratio > r.bound {
			mark = "OVER"
		}
		if ratio > 4*r.bound {
			far = append(far, r.name)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%.2f\t%s\t%s\n", r.name, ms(work), ms(floor), ratio, r.bound, mark, r.floor)
	}
	w.Flush()
	if len(far) > 0 {
		return fmt.Errorf("beyond four times the bound: %s", strings.Join(far, "; "))
	}
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Nanoseconds())/1e6) }

// env is a place with the built binaries and a home of its own.
type env struct {
	dir  string
	vars []string
}

func newEnv() (*env, error) {
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return nil, err
	}
	e := &env{dir: dir}
	for name, pkg := range map[string]string{
		"cairn": "./cmd/cairn", "cairn-plugin-local": "./plugins/local",
		"floor": "./bench/floor", "chain": "./bench/chain",
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			e.close()
			return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	runtime := filepath.Join(dir, "run")
	e.vars = append(os.Environ(), "CAIRN_BIN="+e.bin("cairn"), "XDG_RUNTIME_DIR="+runtime)
	return e, os.Mkdir(runtime, 0o700)
}

func (e *env) close() { os.RemoveAll(e.dir) }

func (e *env) bin(name string) string { return filepath.Join(e.dir, name) }

// home makes a directory for one measurement.
func (e *env) home(name string) (string, error) {
	dir := filepath.Join(e.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// command is a program of e's with a home.
func (e *env) command(home, name string, args ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		cmd := exec.Command(e.bin(name), args...)
		cmd.Env = append(slices.Clone(e.vars), "CAIRN_HOME="+home)
		cmd.Dir = e.dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		start := time.Now()
		err := cmd.Run()
		took := time.Since(start)
		if err != nil {
			return 0, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
		}
		return took, nil
	}
}

// inTurn runs two works in turn, n counted times after one warm-up, and gives
// their medians.
func inTurn(n int, a, b func() (time.Duration, error)) (time.Duration, time.Duration, error) {
	var as, bs []time.Duration
	for i := range n + 1 {
		ta, err := a()
		if err != nil {
			return 0, 0, err
		}
		tb, err := b()
		if err != nil {
			return 0, 0, err
		}
		if i > 0 {
			as, bs = append(as, ta), append(bs, tb)
		}
	}
	return median(as), median(bs), nil
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
