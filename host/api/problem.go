package api

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// AsError makes any error one that can be shown to a person and sent to a
// client. It is what a Service returns, embedded or over a socket.
func AsError(err error) *diag.Error {
	var known *diag.Error
	if errors.As(err, &known) {
		return known
	}
	var plugin *diag.PluginError
	switch {
	case errors.As(err, &plugin):
		return &diag.Error{Code: diag.Plugin, Summary: plugin.Error(), Hint: plugin.Hint, Err: err}
	case errors.Is(err, context.Canceled):
		return &diag.Error{Code: diag.Cancelled, Summary: "cancelled", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &diag.Error{Code: diag.Plugin, Summary: "took too long", Err: err}
	case errors.Is(err, model.ErrFenced):
		return &diag.Error{Code: diag.Interrupted, Summary: "another host took over the run", Detail: err.Error(), Err: err}
	case errors.Is(err, model.ErrOwned):
		return &diag.Error{
			Code: diag.Refused, Summary: "another host runs it and is alive", Detail: err.Error(),
			Hint: "watch it with 'cairn run watch', or take it over with --take-over", Err: err,
		}
	case errors.Is(err, model.ErrBusy):
		return &diag.Error{
			Code: diag.Internal, Summary: "cairn's database cannot be written for now", Detail: err.Error(),
			Hint: "check that the disk of the home has room ('cairn status' says where it is), and try again", Err: err,
		}
	case errors.Is(err, model.ErrConflict):
		return &diag.Error{
			Code: diag.Refused, Summary: "it was changed by somebody else meanwhile", Detail: err.Error(),
			Hint: "look at it again, and repeat the command", Err: err,
		}
	case errors.Is(err, model.ErrInUse):
		return &diag.Error{Code: diag.Refused, Summary: "it is in use", Detail: err.Error(), Err: err}
	case errors.Is(err, model.ErrNotFound):
		return &diag.Error{Code: diag.NotFound, Summary: "no such object", Detail: err.Error(), Err: err}
	case errors.Is(err, model.ErrExists):
		return &diag.Error{Code: diag.Refused, Summary: "the name is taken", Detail: err.Error(), Err: err}
	}
	return &diag.Error{Code: diag.Internal, Summary: err.Error(), Err: err}
}

// codes pairs what means the same in a diag.Error, a Problem and Connect.
var codes = []struct {
	code    diag.Code
	problem apiv1.ProblemCode
	connect connect.Code
}{
	{diag.Internal, apiv1.ProblemCode_PROBLEM_CODE_UNSPECIFIED, connect.CodeInternal},
	{diag.Invalid, apiv1.ProblemCode_PROBLEM_CODE_INVALID, connect.CodeInvalidArgument},
	{diag.NotFound, apiv1.ProblemCode_PROBLEM_CODE_NOT_FOUND, connect.CodeNotFound},
	{diag.Refused, apiv1.ProblemCode_PROBLEM_CODE_REFUSED, connect.CodeFailedPrecondition},
	{diag.RunFailed, apiv1.ProblemCode_PROBLEM_CODE_RUN_FAILED, connect.CodeAborted},
	{diag.Interrupted, apiv1.ProblemCode_PROBLEM_CODE_INTERRUPTED, connect.CodeAborted},
	{diag.Plugin, apiv1.ProblemCode_PROBLEM_CODE_PLUGIN, connect.CodeUnavailable},
	{diag.Cancelled, apiv1.ProblemCode_PROBLEM_CODE_CANCELLED, connect.CodeCanceled},
	{diag.Difference, apiv1.ProblemCode_PROBLEM_CODE_DIFFERENCE, connect.CodeFailedPrecondition},
}

// problemFromError is the Problem of an error.
func problemFromError(e *diag.Error) *apiv1.Problem {
	p := &apiv1.Problem{
		Summary: e.Summary, Detail: e.Detail, Hint: e.Hint,
		Findings: findingsToProto(e.Findings),
	}
	for _, c := range codes {
		if c.code == e.Code {
			p.Code = c.problem
		}
	}
	return p
}

// errorFromProblem is the error of a Problem.
func errorFromProblem(p *apiv1.Problem) *diag.Error {
	e := &diag.Error{
		Code: diag.Internal, Summary: p.GetSummary(), Detail: p.GetDetail(), Hint: p.GetHint(),
		Findings: findingsFromProto(p.GetFindings()),
	}
	for _, c := range codes {
		if c.problem == p.GetCode() {
			e.Code = c.code
		}
	}
	return e
}

// connectError puts an error on the wire.
func connectError(err error) error {
	e := AsError(err)
	code := connect.CodeInternal
	for _, c := range codes {
		if c.code == e.Code {
			code = c.connect
		}
	}
	out := connect.NewError(code, errors.New(e.Error()))
	if detail, err := connect.NewErrorDetail(problemFromError(e)); err == nil {
		out.AddDetail(detail)
	}
	return out
}

// errorFromConnect is what a client makes of an error that came over the wire,
// or of the wire itself.
func errorFromConnect(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var ce *connect.Error
	if errors.As(err, &ce) {
		for _, d := range ce.Details() {
			if m, err := d.Value(); err == nil {
				if p, ok := m.(*apiv1.Problem); ok {
					return errorFromProblem(p)
				}
			}
		}
	}
	if ctx.Err() != nil {
		return AsError(ctx.Err())
	}
	if connect.IsWireError(err) && ce.Code() == connect.CodeUnimplemented {
		return &diag.Error{
			Code: diag.Invalid, Summary: "this cairn host does not know the call", Detail: ce.Message(),
			Hint: "bring both sides to the same version: 'cairn version' says which this is", Err: err,
		}
	}
	return &diag.Error{
		Code: diag.Interrupted, Summary: "lost the connection to the cairn host", Detail: err.Error(),
		Hint: "'cairn run list' shows what became of the run; 'cairn run resume latest' goes on with it", Err: err,
	}
}

func findingsToProto(list diag.List) []*apiv1.Finding {
	out := make([]*apiv1.Finding, 0, len(list))
	for _, d := range list {
		out = append(out, &apiv1.Finding{
			Severity: string(d.Severity), Summary: d.Summary, Detail: d.Detail,
			Path: d.Path, Fault: string(d.Fault), Hint: d.Hint,
		})
	}
	return out
}

func findingsFromProto(list []*apiv1.Finding) diag.List {
	var out diag.List
	for _, f := range list {
		out = append(out, diag.Diagnostic{
			Severity: diag.Severity(f.GetSeverity()), Summary: f.GetSummary(), Detail: f.GetDetail(),
			Path: f.GetPath(), Fault: diag.Fault(f.GetFault()), Hint: f.GetHint(),
		})
	}
	return out
}
