// Package diag holds what cairn tells people: diagnostics, errors with a way
// out, and the reasons that cross the plugin API. Start with Error.
package diag

import (
	"errors"
	"fmt"
	"strings"
)

// Severity of a Diagnostic.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Fault says who can mend what went wrong.
type Fault string

// The faults.
const (
	FaultUser    Fault = "user"
	FaultConfig  Fault = "config"
	FaultBackend Fault = "backend"
	FaultPlugin  Fault = "plugin"
)

// Diagnostic is one finding.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	// Summary is one line: what is wrong.
	Summary string `json:"summary"`
	// Detail says why.
	Detail string `json:"detail,omitempty"`
	// Path is what it is about: an attribute of a config, a step, a component.
	Path  string `json:"path,omitempty"`
	Fault Fault  `json:"fault,omitempty"`
	// Hint says what to do next.
	Hint string `json:"hint,omitempty"`
}

// String is the diagnostic on one line, without its hint.
func (d Diagnostic) String() string {
	var b strings.Builder
	if d.Path != "" {
		b.WriteString(d.Path + ": ")
	}
	b.WriteString(d.Summary)
	if d.Detail != "" {
		b.WriteString(": " + d.Detail)
	}
	return b.String()
}

// List is a list of diagnostics in the order in which they were found.
type List []Diagnostic

// HasError reports whether one of them is an error.
func (l List) HasError() bool {
	for _, d := range l {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}

// Code says what kind of error it is; it decides a program's exit code.
type Code string

// The codes.
const (
	Internal    Code = "internal"
	Invalid     Code = "invalid"
	NotFound    Code = "not_found"
	Refused     Code = "refused"
	RunFailed   Code = "run_failed"
	Interrupted Code = "interrupted"
	Plugin      Code = "plugin"
	Difference  Code = "difference"
	Cancelled   Code = "cancelled"
)

// ExitCode is the exit code of a program that ends with the code.
func (c Code) ExitCode() int {
	switch c {
	case Invalid:
		return 2
	case NotFound:
		return 3
	case Refused:
		return 4
	case RunFailed:
		return 5
	case Interrupted:
		return 6
	case Plugin:
		return 7
	case Difference:
		return 8
	case Cancelled:
		return 130
	}
	return 1
}

// Error is an error for a person: what failed, on which object, why, and what
// to do next. It is safe to send to a client as it stands, so it never holds a
// secret.
type Error struct {
	Code Code
	// Summary is one line: what failed, on which object.
	Summary string
	// Detail says why.
	Detail string
	// Hint says what to do next, with the command to type where there is one.
	Hint string
	// Findings are the single points, where there are several.
	Findings List
	// Err is what it wraps, for errors.Is; never shown.
	Err error
}

// Error is the summary with its detail.
func (e *Error) Error() string {
	s := e.Summary
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	for _, f := range e.Findings {
		s += "; " + f.String()
	}
	return s
}

// Unwrap gives the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a code. The format is the summary; a trailing %w
// wraps and is shown, as in fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Summary: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint sets the hint and returns the same error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithDetail sets the detail and returns the same error.
func (e *Error) WithDetail(format string, args ...any) *Error {
	e.Detail = fmt.Sprintf(format, args...)
	return e
}

// CodeOf is the code of the first Error in err's chain; Internal for others.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
