package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Main is the whole of a pipeline program: it reads the command line, runs the
// pipeline on the active stack, says how it goes, and ends the process. Of
// several pipelines the first argument names the one to run.
//
// Exit codes: 0 the run completed, 1 internal, 2 usage or invalid, 3 not found,
// 4 refused, 5 the run failed, 6 interrupted, 7 plugin or backend, 130
// cancelled.
func Main(pipelines ...*Pipeline) {
	p := &program{
		args: os.Args, lookup: os.LookupEnv, environ: os.Environ(),
		stdout: os.Stdout, stderr: os.Stderr,
		terminal: isatty.IsTerminal(os.Stdout.Fd()),
		exit:     os.Exit, ownsOutput: true,
		signals: make(chan os.Signal, 4),
	}
	_, p.mainFile, _, _ = runtime.Caller(1)
	signal.Notify(p.signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(p.run(pipelines))
}

// program is a pipeline program: what it was started with, and where it writes.
type program struct {
	args       []string
	environ    []string
	lookup     func(string) (string, bool)
	stdout     io.Writer
	stderr     io.Writer
	terminal   bool
	signals    chan os.Signal
	exit       func(code int)
	dir        string
	executable string
	mainFile   string
	// ownsOutput: stdout and stderr are those of the process, and are kept.
	ownsOutput bool
	tee        *tee
}

// run does what Main does, and gives the exit code.
func (p *program) run(pipelines []*Pipeline) int {
	err := p.start(pipelines)
	if err == nil {
		return 0
	}
	// A run that failed was told about already.
	var told *toldError
	if !errors.As(err, &told) {
		printError(p.stderr, err)
	}
	return diag.CodeOf(err).ExitCode()
}

func (p *program) start(pipelines []*Pipeline) error {
	chosen, args, err := choose(pipelines, p.args[1:])
	if err != nil {
		return err
	}
	if chosen == nil {
		printPipelines(p.stdout, p.args[0], pipelines)
		return nil
	}
	o, err := parseOptions(chosen, args, p.lookup)
	if err != nil {
		return err
	}
	if o.help {
		printHelp(p.stdout, p.args[0], len(pipelines) > 1, o)
		return nil
	}
	t, err := o.trace()
	if err != nil {
		return err
	}
	if p.dir, err = os.Getwd(); err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	if p.executable, err = os.Executable(); err != nil {
		return fmt.Errorf("find the program's executable: %w", err)
	}
	return p.runPipeline(context.Background(), o, t)
}

// choose picks the pipeline that the arguments name. Nil: list them.
func choose(pipelines []*Pipeline, args []string) (*Pipeline, []string, error) {
	byName := map[string]*Pipeline{}
	var names []string
	for _, q := range pipelines {
		if q == nil {
			return nil, nil, diag.Errorf(diag.Invalid, "pipeline.Main was given a nil pipeline")
		}
		if first := byName[q.name]; first != nil {
			return nil, nil, diag.Errorf(diag.Invalid, "two pipelines are called '%s', at %s and at %s", q.name, first.where, q.where)
		}
		byName[q.name] = q
		names = append(names, q.name)
	}
	switch {
	case len(pipelines) == 0:
		return nil, nil, diag.Errorf(diag.Invalid, "pipeline.Main was given no pipeline")
	case len(pipelines) == 1:
		return pipelines[0], args, nil
	case len(args) == 0:
		return nil, nil, diag.Errorf(diag.Invalid, "this program has several pipelines, and none was named").
			WithHint("name one first: %s", strings.Join(names, ", "))
	case slices.Contains([]string{"--help", "-h", "help"}, args[0]):
		return nil, nil, nil
	}
	if q := byName[args[0]]; q != nil {
		return q, args[1:], nil
	}
	return nil, nil, diag.Errorf(diag.Invalid, "no pipeline '%s'%s", args[0], diag.DidYouMean(args[0], names)).
		WithHint("the pipelines are: %s", strings.Join(names, ", "))
}

// toldError is an error that was shown while the run went on.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// printError shows an error and its way out.
func printError(w io.Writer, err error) {
	var e *diag.Error
	if !errors.As(err, &e) {
		fmt.Fprintf(w, "error: %v\n", err)
		return
	}
	fmt.Fprintf(w, "error: %s\n", e.Summary)
	if e.Detail != "" {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(e.Detail, "\n", "\n  "))
	}
	for _, f := range e.Findings {
		fmt.Fprintf(w, "  %s\n", f)
		if f.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", f.Hint)
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", e.Hint)
	}
}
