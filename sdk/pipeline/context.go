package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// StepContext is what a step can ask of the run that it is part of. Get it with
// From. Outside a run, such as in a test that calls the step, it does what a
// step can expect, and records nothing. Safe for concurrent use.
type StepContext struct {
	step    string
	number  int
	log     *slog.Logger
	dir     string // of the attempt; empty outside a run
	ask     func(ctx context.Context, secret string) (map[string]string, error)
	secrets []string

	mu         sync.Mutex
	scratch    string
	metrics    map[string]float64
	metadata   map[string]string
	parameters map[string]string
	problem    error
}

type contextKey struct{}

// From gives the StepContext of a step's context. It is never nil.
func From(ctx context.Context) *StepContext {
	if s, ok := ctx.Value(contextKey{}).(*StepContext); ok {
		return s
	}
	return &StepContext{number: 1, log: slog.Default()}
}

// Log is the step's logger: its lines become the step's log. Outside a run it
// is slog.Default.
func (s *StepContext) Log() *slog.Logger { return s.log }

// Step is the name of the step; empty outside a run.
func (s *StepContext) Step() string { return s.step }

// Attempt is the number of the attempt, from 1.
func (s *StepContext) Attempt() int { return s.number }

// Metric records a number of the step, such as a loss; the last value of each
// name counts.
func (s *StepContext) Metric(name string, value float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.metrics == nil {
		s.metrics = map[string]float64{}
	}
	s.metrics[name] = value
}

// Metadata records a fact about the step. The value is anything that has JSON;
// another fails the step.
func (s *StepContext) Metadata(name string, value any) {
	s.record("metadata", &s.metadata, name, value)
}

// Param records a parameter that the step used, beside those of the run. The
// value is anything that has JSON; another fails the step.
func (s *StepContext) Param(name string, value any) {
	s.record("parameter", &s.parameters, name, value)
}

func (s *StepContext) record(what string, to *map[string]string, name string, value any) {
	data, err := json.Marshal(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.problem = errors.Join(s.problem, fmt.Errorf("the %s '%s' cannot be recorded: %w", what, name, err))
		return
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[name] = string(data)
}

// Secret gives the keys and values of a secret that the step declared with
// Secrets.
func (s *StepContext) Secret(ctx context.Context, name string) (map[string]string, error) {
	if s.ask == nil {
		return nil, diag.Errorf(diag.Invalid, "secret '%s' cannot be had outside a run", name).
			WithHint("in a test, give the context pipeline.WithSecrets")
	}
	if !slices.Contains(s.secrets, name) {
		return nil, diag.Errorf(diag.Invalid, "step '%s' did not declare secret '%s'%s", s.step, name, diag.DidYouMean(name, s.secrets)).
			WithHint("declare it where the step is added: Do(b, …, pipeline.Secrets(%q))", name)
	}
	return s.ask(ctx, name)
}

// WithSecrets gives a context for calling a step outside a run, in which the
// step can ask for these secrets.
func WithSecrets(ctx context.Context, secrets map[string]map[string]string) context.Context {
	return context.WithValue(ctx, contextKey{}, &StepContext{
		number: 1, log: slog.Default(), secrets: slices.Sorted(maps.Keys(secrets)),
		ask: func(_ context.Context, name string) (map[string]string, error) {
			return maps.Clone(secrets[name]), nil
		},
	})
}

// ScratchDir gives a directory of the attempt's own, made when it is first
// asked for. In a run it is removed after the attempt; files in it that are
// results are moved from there. Outside a run it is a new temporary directory,
// which stays.
func (s *StepContext) ScratchDir() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scratch != "" {
		return s.scratch, nil
	}
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "cairn-scratch-*")
		if err != nil {
			return "", err
		}
		s.scratch = dir
		return dir, nil
	}
	dir := filepath.Join(s.dir, "scratch")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the scratch directory: %w", err)
	}
	s.scratch = dir
	return dir, nil
}

// permanentError is an error after which no other attempt can help.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error as one that another attempt cannot mend, so that the
// step is not tried again. It gives nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// logFile is a step's log. The file is made with its first line.
type logFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	err  error
}

// Write appends to the log.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && l.err == nil {
		l.file, l.err = os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.file.Write(p)
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return l.err
	}
	err := l.file.Close()
	l.file, l.err = nil, os.ErrClosed
	return err
}

// oneLine is the first line of a text.
func oneLine(s string) string {
	first, _, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		return first + " …"
	}
	return first
}
