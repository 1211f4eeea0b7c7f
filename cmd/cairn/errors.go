package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// errorView is an error with --output json or yaml, on stderr.
type errorView struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	// Code is the kind of error; it decides ExitCode.
	Code     string        `json:"code"`
	ExitCode int           `json:"exit_code"`
	Summary  string        `json:"summary"`
	Detail   string        `json:"detail,omitempty"`
	Hint     string        `json:"hint,omitempty"`
	Findings []findingView `json:"findings,omitempty"`
}

// exitError ends cairn with a code and no message: all was said before, or by
// the program that was run.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// asDiag gives an error of any kind as one that can be shown.
func asDiag(err error) *diag.Error {
	var d *diag.Error
	if errors.As(err, &d) {
		return d
	}
	if errors.Is(err, context.Canceled) {
		return &diag.Error{Code: diag.Cancelled, Summary: "interrupted"}
	}
	return &diag.Error{Code: diag.Internal, Summary: err.Error()}
}

// fail prints an error in the one way that cairn has, and gives its exit code.
func (c *cli) fail(err error) int {
	var code exitError
	if errors.As(err, &code) {
		return int(code)
	}
	d := asDiag(err)
	if c.format == formatTable {
		printError(c.stderr, d, c.styleFor(c.stderr))
		return d.Code.ExitCode()
	}
	view := errorView{Error: errorBody{
		Code: string(d.Code), ExitCode: d.Code.ExitCode(),
		Summary: d.Summary, Detail: d.Detail, Hint: d.Hint, Findings: findingsOf(d.Findings),
	}}
	if err := encode(c.stderr, c.format, view); err != nil {
		printError(c.stderr, d, style{})
	}
	return d.Code.ExitCode()
}

func printError(w io.Writer, d *diag.Error, s style) {
	fmt.Fprintf(w, "%s %s\n", s.red("Error:"), d.Summary)
	if d.Detail != "" {
		fmt.Fprintln(w, indent(d.Detail, "  "))
	}
	for _, f := range findingsOf(d.Findings) {
		printFinding(w, f, s)
	}
	if d.Hint != "" {
		fmt.Fprintf(w, "%s %s\n", s.bold("Try:"), strings.TrimSuffix(d.Hint, "\n"))
	}
}

func printFinding(w io.Writer, f findingView, s style) {
	mark := s.red("error")
	if f.Severity == string(diag.SeverityWarning) {
		mark = s.yellow("warning")
	}
	where := ""
	if f.Path != "" {
		where = s.bold(f.Path) + ": "
	}
	fmt.Fprintf(w, "  %s: %s%s\n", mark, where, f.Summary)
	if f.Detail != "" {
		fmt.Fprintln(w, indent(f.Detail, "    "))
	}
	if f.Hint != "" {
		fmt.Fprintln(w, indent("Try: "+f.Hint, "    "))
	}
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+by)
}

// usageError is a mistake in what was typed.
func usageError(format string, args ...any) *diag.Error {
	return diag.Errorf(diag.Invalid, format, args...)
}
