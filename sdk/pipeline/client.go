package pipeline

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/proto/cairn/api/v1/apiv1connect"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// client calls the host.
type client struct {
	apiv1connect.RunServiceClient
	// gone reports whether the host has ended, so that trying again is vain.
	gone func() bool
}

// dial makes a client of a host's socket. No connection is made yet.
func dial(socket string, gone func() bool) *client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 16,
		DisableCompression:  true,
	}
	return &client{apiv1connect.NewRunServiceClient(&http.Client{Transport: transport}, "http://cairn"), gone}
}

// repeat makes a call that may be made again, until it gets through, the host
// refuses it, or the host is gone.
func repeat[Res any](ctx context.Context, c *client, call func(context.Context) (*Res, error)) (*Res, error) {
	const tries = 6
	wait := 10 * time.Millisecond
	for i := 1; ; i++ {
		res, err := call(ctx)
		if err == nil {
			return res, nil
		}
		if known := problemOf(err); known != nil {
			return nil, known
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if i == tries || c.gone() {
			return nil, lostHost(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		wait *= 3
	}
}

// errHostLost is wrapped by the errors of a connection that ended.
var errHostLost = errors.New("the host is lost")

func lostHost(err error) *diag.Error {
	return &diag.Error{
		Code: diag.Interrupted, Summary: "lost the connection to the cairn host", Detail: err.Error(),
		Err: errors.Join(errHostLost, err),
	}
}

// problemOf is what the host said was wrong; nil where the error is one of the
// connection.
func problemOf(err error) *diag.Error {
	var known *diag.Error
	if errors.As(err, &known) {
		return known
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return nil
	}
	for _, d := range ce.Details() {
		m, err := d.Value()
		if err != nil {
			continue
		}
		if p, ok := m.(*apiv1.Problem); ok {
			return errorOf(p)
		}
	}
	if connect.IsWireError(err) && ce.Code() != connect.CodeUnavailable && ce.Code() != connect.CodeCanceled {
		return diag.Errorf(diag.Internal, "the cairn host refused a call: %s", ce.Message()).
			WithHint("bring program and host to the same version: 'cairn version' says which the host is")
	}
	return nil
}

func errorOf(p *apiv1.Problem) *diag.Error {
	e := &diag.Error{Code: diag.Internal, Summary: p.GetSummary(), Detail: p.GetDetail(), Hint: p.GetHint()}
	switch p.GetCode() {
	case apiv1.ProblemCode_PROBLEM_CODE_INVALID:
		e.Code = diag.Invalid
	case apiv1.ProblemCode_PROBLEM_CODE_NOT_FOUND:
		e.Code = diag.NotFound
	case apiv1.ProblemCode_PROBLEM_CODE_REFUSED:
		e.Code = diag.Refused
	case apiv1.ProblemCode_PROBLEM_CODE_RUN_FAILED:
		e.Code = diag.RunFailed
	case apiv1.ProblemCode_PROBLEM_CODE_INTERRUPTED:
		e.Code = diag.Interrupted
	case apiv1.ProblemCode_PROBLEM_CODE_PLUGIN:
		e.Code = diag.Plugin
	case apiv1.ProblemCode_PROBLEM_CODE_DIFFERENCE:
		e.Code = diag.Difference
	case apiv1.ProblemCode_PROBLEM_CODE_CANCELLED:
		e.Code = diag.Cancelled
	}
	for _, f := range p.GetFindings() {
		e.Findings = append(e.Findings, diag.Diagnostic{
			Severity: diag.Severity(f.GetSeverity()), Summary: f.GetSummary(), Detail: f.GetDetail(),
			Path: f.GetPath(), Fault: diag.Fault(f.GetFault()), Hint: f.GetHint(),
		})
	}
	return e
}
