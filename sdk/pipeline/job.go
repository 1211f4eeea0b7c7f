package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/internal/fault"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

// Causes with which the context of an attempt is cancelled.
var (
	errTimedOut = errors.New("the step took longer than its timeout")
	errStopped  = errors.New("the step was cancelled")
	errLostHost = errors.New("the host is gone")
)

// maxMessage bounds the text of an error in a result.
const maxMessage = 16 << 10

// secretAsker gives a secret to an attempt.
type secretAsker func(ctx context.Context, job *apiv1.Job, name string) (map[string]string, error)

// execute runs one attempt and leaves its result in its directory. An error
// means that there is no result; a step that fails has one, save where it was
// cancelled because the host is gone: nobody asked for its end, so the attempt is
// lost, and a resumed run makes the next one.
func (t *traced) execute(ctx context.Context, job *apiv1.Job, ask secretAsker) (*artifact.Result, error) {
	r := &artifact.Result{
		Format: artifact.ResultFormat, Run: job.GetRun(), Step: job.GetStep(),
		Attempt: job.GetAttempt(), Incarnation: job.GetIncarnation(), StartedUS: artifact.MicrosOf(time.Now()),
	}
	log := &logFile{path: job.GetLogPath()}
	s := &StepContext{
		step: job.GetStep(), number: int(job.GetAttemptNumber()), dir: job.GetDir(),
		log: slog.New(slog.NewTextHandler(log, nil)), secrets: job.GetSecrets(),
		ask: func(ctx context.Context, name string) (map[string]string, error) { return ask(ctx, job, name) },
	}
	if job.GetTimeoutMs() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(job.GetTimeoutMs())*time.Millisecond, errTimedOut)
		defer cancel()
	}
	r.Outputs, r.Failure = t.attempt(context.WithValue(ctx, contextKey{}, s), job, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Failure == nil && s.problem != nil {
		r.Outputs, r.Failure = nil, failureOf(ctx, s.problem)
	}
	r.Metrics, r.Metadata, r.Parameters = s.metrics, s.metadata, s.parameters
	if r.Failure != nil {
		fmt.Fprintf(log, "time=%s level=ERROR msg=%q\n", time.Now().Format(time.RFC3339Nano), r.Failure.Message)
	}
	r.EndedUS = artifact.MicrosOf(time.Now())
	// A log that cannot be written is told by the host, which reads it.
	_ = log.close()
	if r.Failure != nil && r.Failure.Kind == artifact.FailureCancelled && !errors.Is(context.Cause(ctx), errStopped) {
		return r, nil
	}
	return r, writeResult(job.GetDir(), r)
}

func writeResult(dir string, r *artifact.Result) error {
	if err := fault.Hit("pipeline.result.before-write"); err != nil {
		return err
	}
	err := artifact.WriteResult(dir, r)
	if errors.Is(err, artifact.ErrInvalidResult) && r.Failure == nil {
		r.Outputs, r.Metadata, r.Parameters = nil, nil, nil
		r.Failure = &artifact.Failure{Kind: artifact.FailureOutput, Message: clip(err.Error())}
		err = artifact.WriteResult(dir, r)
	}
	if err != nil {
		return err
	}
	return fault.Hit("pipeline.result.after-write")
}

// attempt reads the inputs, calls the step's function, and writes the outputs.
func (t *traced) attempt(ctx context.Context, job *apiv1.Job, s *StepContext) ([]artifact.ResultOutput, *artifact.Failure) {
	n := t.byName[job.GetStep()]
	if n == nil {
		return nil, &artifact.Failure{Kind: artifact.FailureError, Permanent: true, Message: fmt.Sprintf("the program has no step '%s'", job.GetStep())}
	}
	in, err := n.readInputs(job, s)
	if err != nil {
		return nil, failureOf(ctx, err)
	}
	out, failure := n.call(ctx, in)
	if failure != nil {
		return nil, failure
	}
	outputs, err := n.writeOutputs(out, job)
	if err != nil {
		return nil, &artifact.Failure{Kind: artifact.FailureOutput, Message: clip(err.Error())}
	}
	return outputs, nil
}

// readInputs makes the arguments of the step's function: pointers to values.
func (n *node) readInputs(job *apiv1.Job, s *StepContext) ([]any, error) {
	given := make(map[string]*apiv1.JobInput, len(job.GetInputs()))
	for _, in := range job.GetInputs() {
		given[in.GetName()] = in
	}
	values := make([]reflect.Value, len(n.def.in))
	for i, t := range n.def.in {
		values[i] = reflect.New(t)
	}
	for _, in := range n.inputs {
		g := given[in.name]
		if g == nil {
			return nil, fmt.Errorf("input '%s' was not given", in.name)
		}
		c := content{inline: g.GetInline(), path: g.GetPath(), tree: g.GetTree(), metadata: g.GetMetadata()}
		v := values[in.arg].Elem()
		if in.field != wholeResult {
			v = v.Field(in.field)
		}
		decode := in.codec.decode
		if in.from == nil {
			decode = decodeJSON
		}
		if err := decode(c, v, s.ScratchDir); err != nil {
			return nil, fmt.Errorf("input '%s' cannot be read as a %s: %w", in.name, typeName(in.typ), err)
		}
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v.Interface()
	}
	return args, nil
}

// call calls the step's function.
func (n *node) call(ctx context.Context, in []any) (out any, failure *artifact.Failure) {
	returned := false
	defer func() {
		switch r := recover(); {
		case r != nil:
			out, failure = nil, &artifact.Failure{Kind: artifact.FailurePanic, Message: clip(fmt.Sprint("panic: ", r)), Trace: userFrames()}
			if err, ok := r.(error); ok && isPermanent(err) {
				failure.Permanent = true
			}
		case !returned:
			out, failure = nil, &artifact.Failure{Kind: artifact.FailureError, Message: "the step ended its goroutine instead of returning"}
		}
	}()
	out, err := n.def.call(ctx, in)
	returned = true
	if err != nil {
		return nil, failureOf(ctx, err)
	}
	return out, nil
}

func isPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// failureOf is the failure that an error of a step's function stands for.
func failureOf(ctx context.Context, err error) *artifact.Failure {
	f := &artifact.Failure{Kind: artifact.FailureError, Message: clip(err.Error()), Permanent: isPermanent(err)}
	switch cause := context.Cause(ctx); {
	case ctx.Err() == nil:
	case errors.Is(cause, errTimedOut):
		f.Kind = artifact.FailureTimeout
	default:
		f.Kind = artifact.FailureCancelled
	}
	return f
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "") + " …"
	}
	return s
}

// writeOutputs stores the result of the step's function: a pointer to a value.
func (n *node) writeOutputs(out any, job *apiv1.Job) ([]artifact.ResultOutput, error) {
	if len(n.outputs) == 0 {
		return nil, nil
	}
	result := reflect.ValueOf(out).Elem()
	outputs := make([]artifact.ResultOutput, len(n.outputs))
	paths := map[string]string{}
	for i, o := range n.outputs {
		v := result
		what := "the result"
		if o.field != wholeResult {
			v = result.Field(o.field)
			what = "the result's field " + n.def.out.Field(o.field).Name
		}
		c, err := o.codec.encode(v)
		if err == nil {
			outputs[i], err = o.store(c, job.GetDir())
		}
		if err != nil {
			return nil, fmt.Errorf("%s (%s) cannot be stored: %w", what, typeName(o.typ), err)
		}
		if p := outputs[i].Path; p != "" {
			if other := paths[p]; other != "" {
				return nil, fmt.Errorf("the outputs '%s' and '%s' are the same file, %s", other, o.name, p)
			}
			paths[p] = o.name
		}
	}
	return outputs, nil
}

// store puts a value into the result, or into a file below the attempt's
// directory.
func (o output) store(c content, dir string) (artifact.ResultOutput, error) {
	out := artifact.ResultOutput{
		Name: o.name, Type: artifact.OutputType{MediaType: o.codec.media, LanguageType: o.typ.String()},
		Tree: c.tree, Metadata: c.metadata,
	}
	switch {
	case c.path != "":
		out.Path = filepath.Clean(c.path)
		if rel, err := filepath.Rel(dir, out.Path); err == nil && filepath.IsLocal(rel) {
			out.Path = rel
		}
	case len(c.inline) <= artifact.MaxInline:
		out.Inline = c.inline
	default:
		if err := os.MkdirAll(filepath.Join(dir, "out"), 0o700); err != nil {
			return out, err
		}
		out.Path = filepath.Join("out", o.name)
		if err := os.WriteFile(filepath.Join(dir, out.Path), c.inline, 0o600); err != nil {
			return out, err
		}
	}
	return out, nil
}

// userFrames gives the frames of the panic that is being recovered which are
// the user's own, innermost first.
func userFrames() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	module := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		module = info.Main.Path
	}
	var b strings.Builder
	for {
		f, more := frames.Next()
		if isUserFrame(f.Function, module) {
			fmt.Fprintf(&b, "%s\n    %s:%d\n", f.Function, f.File, f.Line)
		}
		if !more {
			return strings.TrimSuffix(b.String(), "\n")
		}
	}
}

// isUserFrame reports whether a function belongs to the program: to its main
// package or its module.
func isUserFrame(function, module string) bool {
	const own = "github.com/cairn-stack/cairn/sdk/pipeline."
	switch {
	case strings.HasPrefix(function, own), strings.HasPrefix(function, "runtime."):
		return false
	case strings.HasPrefix(function, "main."):
		return true
	}
	return module != "" && strings.HasPrefix(function, module)
}

// markCode sets the code key of every step.
func (t *traced) markCode(key string) {
	for _, n := range t.spec.GetNodes() {
		if s, ok := n.GetKind().(*stepv1.Node_Step); ok {
			s.Step.CodeKey = key
		}
	}
}
