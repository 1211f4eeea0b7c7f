package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// failing is a Service whose calls end with err, after two messages where they
// are streams.
type failing struct {
	Service
	err error
}

func (f failing) GetStack(context.Context, *apiv1.GetStackRequest) (*apiv1.GetStackResponse, error) {
	if f.err != nil {
		return nil, f.err
	}
	return &apiv1.GetStackResponse{Stack: &apiv1.Stack{Name: "default"}}, nil
}

func (f failing) WatchRun(_ context.Context, _ *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
	for i := range 2 {
		if err := send(&apiv1.WatchRunResponse{Cursor: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return f.err
}

// serve puts a Service on a Unix socket and gives the client of it.
func serve(t *testing.T, s Service) Service {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: Handler(s)}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(func() { transport.CloseIdleConnections(); _ = server.Close(); <-done })
	return Client(&http.Client{Transport: transport}, "http://cairn")
}

func TestErrorsAreTheSameOverASocket(t *testing.T) {
	t.Parallel()
	full := &diag.Error{
		Code: diag.Invalid, Summary: "stack 'x' cannot be used", Detail: "two things", Hint: "cairn stack update x",
		Findings: diag.List{{
			Severity: diag.SeverityWarning, Summary: "s", Detail: "d", Path: "config.path", Fault: diag.FaultConfig, Hint: "h",
		}},
	}
	cases := map[string]error{
		"full":   full,
		"plain":  errors.New("something broke"),
		"busy":   fmt.Errorf("write: %w", model.ErrBusy),
		"fenced": fmt.Errorf("apply: %w", &model.FencedError{Owner: "h2", Epoch: 3}),
		"plugin": &diag.PluginError{Reason: diag.ErrUnavailable, Summary: "no answer", Hint: "look"},
	}
	for _, c := range codes {
		cases[string(c.code)] = diag.Errorf(c.code, "a %s error", c.code)
	}
	for name, err := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, failing{err: err})
			want := AsError(err)
			_, got := c.GetStack(t.Context(), &apiv1.GetStackRequest{})
			if d := cmp.Diff(error(want), got, cmpopts.IgnoreFields(diag.Error{}, "Err")); d != "" {
				t.Errorf("unary (-embedded +socket):\n%s", d)
			}
			var cursors []string
			got = c.WatchRun(t.Context(), &apiv1.WatchRunRequest{}, func(m *apiv1.WatchRunResponse) error {
				cursors = append(cursors, m.GetCursor())
				return nil
			})
			if d := cmp.Diff(error(want), got, cmpopts.IgnoreFields(diag.Error{}, "Err")); d != "" {
				t.Errorf("stream (-embedded +socket):\n%s", d)
			}
			if d := cmp.Diff([]string{"0", "1"}, cursors); d != "" {
				t.Errorf("messages before the error:\n%s", d)
			}
		})
	}
}

func TestAnswersCrossTheSocket(t *testing.T) {
	t.Parallel()
	c := serve(t, failing{})
	r, err := c.GetStack(t.Context(), &apiv1.GetStackRequest{})
	if err != nil || r.GetStack().GetName() != "default" {
		t.Fatalf("got %v, %v", r, err)
	}
	n := 0
	if err := c.WatchRun(t.Context(), &apiv1.WatchRunRequest{}, func(*apiv1.WatchRunResponse) error { n++; return nil }); err != nil || n != 2 {
		t.Fatalf("got %d messages, %v", n, err)
	}
}

func TestNobodyAtTheSocket(t *testing.T) {
	t.Parallel()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}}
	_, err := Client(&http.Client{Transport: transport}, "http://cairn").GetVersion(t.Context(), &apiv1.GetVersionRequest{})
	if diag.CodeOf(err) != diag.Interrupted {
		t.Fatalf("got %v (%s), want interrupted", err, diag.CodeOf(err))
	}
}
