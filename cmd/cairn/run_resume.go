package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// The variables that tell a pipeline program to go on with a run.
const (
	resumeVariable   = "CAIRN_RESUME"
	takeOverVariable = "CAIRN_TAKE_OVER"
	binaryVariable   = "CAIRN_BIN"
)

func (c *cli) runResume() *cobra.Command {
	var takeOver bool
	cmd := &cobra.Command{
		Use:   "resume RUN",
		Short: "Go on with a run that did not complete",
		Long: `Go on with a run that failed, was cancelled or was interrupted. Its program is
started again as it was, in the same folder; finished steps are not run again.
The program and its parameters must be the same.` + runReference + `

Exit codes: those of the program: 0 the run completed, 5 it failed, 130 it was
cancelled; and 2 usage or invalid, 3 not found, 4 refused (it is running, or the
program is not what it was).`,
		Example: `  cairn run resume latest
  cairn run resume training-3`,
		Args: needs("RUN"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := c.getRun(cmd.Context(), svc, args[0])
			if err != nil {
				return err
			}
			v := runOf(res.GetRun())
			switch {
			case v.State == "completed":
				return c.done(v, "Run %s is completed; there is nothing to go on with.", v.Name)
			case v.State == "running" && !takeOver:
				return diag.Errorf(diag.Refused, "run %s is running", v.Name).
					WithDetail("The host that owns it lives.").
					WithHint("cairn run watch %s; if that host hangs: cairn run resume %s --take-over", v.Name, v.Name)
			}
			p, err := programOf(res, takeOver)
			if err != nil {
				return err
			}
			// The program has a host of its own; this one holds nothing while it
			// runs.
			c.close()
			c.note("Starting the program of run %s again: %s", v.Name, shellText(p.typed()))
			return c.runProgram(cmd.Context(), p)
		},
	}
	cmd.Flags().BoolVar(&takeOver, "take-over", false, "take the run from a host that lives but hangs")
	return cmd
}

// program is a pipeline program to start again.
type program struct {
	run       string
	argv      []string
	dir       string
	env       []string
	goPackage string
}

// typed is what a person would type to do the same.
func (p program) typed() []string {
	if p.goPackage != "" {
		return append([]string{"go", "run", p.goPackage}, p.argv[1:]...)
	}
	return p.argv
}

// impossible is the error for a program that cannot be started, with what to
// type instead.
func (p program) impossible(reason string, args ...any) error {
	return diag.Errorf(diag.Refused, "run %s cannot be gone on with from here", p.run).
		WithDetail(reason, args...).
		WithHint("in the program's folder: %s=%s %s", resumeVariable, p.run, shellText(p.typed()))
}

func programOf(res *apiv1.GetRunResponse, takeOver bool) (program, error) {
	recipe := res.GetRecipe()
	p := program{
		run: res.GetRun().GetName(), argv: slices.Clone(recipe.GetArgv()),
		dir: recipe.GetWorkingDir(), goPackage: recipe.GetGoPackage(),
	}
	if len(p.argv) == 0 {
		return p, diag.Errorf(diag.Refused, "run %s does not say how its program was started", p.run).
			WithHint("in the program's folder: %s=%s, then the program as you started it", resumeVariable, p.run)
	}
	p.env = os.Environ()
	for name, value := range recipe.GetEnv() {
		p.env = append(p.env, name+"="+value)
	}
	p.env = append(p.env, resumeVariable+"="+res.GetRun().GetId())
	if takeOver {
		p.env = append(p.env, takeOverVariable+"=1")
	}
	if self, err := os.Executable(); err == nil && os.Getenv(binaryVariable) == "" {
		p.env = append(p.env, binaryVariable+"="+self)
	}
	if info, err := os.Stat(p.dir); err != nil || !info.IsDir() {
		return p, p.impossible("Its folder '%s' is not there any more.", p.dir)
	}
	return p, nil
}

// runProgram runs the program in this one's place: its standard streams are
// ours, signals are passed on, and its exit code becomes ours.
func (c *cli) runProgram(ctx context.Context, p program) error {
	path := p.argv[0]
	if p.goPackage != "" {
		// By this name the program sees that it is one of 'go run', which goes
		// away when it ends.
		dir, err := os.MkdirTemp("", "go-build-cairn-")
		if err != nil {
			return fmt.Errorf("make a folder for the program: %w", err)
		}
		defer os.RemoveAll(dir)
		if path, err = c.buildProgram(ctx, p, dir); err != nil {
			return err
		}
	} else if !strings.ContainsRune(path, filepath.Separator) {
		found, err := exec.LookPath(path)
		if err != nil {
			return p.impossible("There is no program '%s' in PATH.", path)
		}
		path = found
	}
	cmd := &exec.Cmd{
		Path: path, Args: p.argv, Dir: p.dir, Env: p.env,
		Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return p.impossible("Its program '%s' cannot be started: %v.", path, errors.Unwrap(err))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	terminal := isTerminal(c.stdin)
	for {
		select {
		case s := <-signals:
			// What a key of the terminal sends reaches the program by itself.
			if terminal && (s == syscall.SIGINT || s == syscall.SIGQUIT) {
				continue
			}
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-ended:
			return exitOf(err)
		}
	}
}

// buildProgram builds the program exactly as 'go run' does and keeps it, for
// 'go run' itself hands on neither signals nor the exit code. Another way to
// build would give another build id, and so other code than the run's.
func (c *cli) buildProgram(ctx context.Context, p program, dir string) (string, error) {
	path := filepath.Join(dir, filepath.Base(p.argv[0]))
	build := exec.CommandContext(ctx, "go", "run", "-exec", `sh -c 'cp "$1" "$0"' "`+path+`"`, p.goPackage)
	build.Dir, build.Env = p.dir, p.env
	build.Stdout, build.Stderr = c.stderr, c.stderr
	if err := build.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", p.impossible("Its program could not be built from package '%s': %v.", p.goPackage, err)
	}
	return path, nil
}

// exitOf gives a program's end as ours.
func exitOf(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("wait for the program: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitError(128 + int(status.Signal()))
	}
	return exitError(exit.ExitCode())
}
