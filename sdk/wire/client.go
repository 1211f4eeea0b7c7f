package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc"

	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Time that the classes of method are given.
const (
	// QuickTimeout is for quick methods.
	QuickTimeout = 10 * time.Second
	// CheckTimeout is for methods of the check class.
	CheckTimeout = 30 * time.Second
	// SilenceTimeout is how long a long call may say nothing; it has no total.
	SilenceTimeout = 30 * time.Second
	// ProgressInterval is the longest pause between two signs of life of a long
	// call.
	ProgressInterval = 5 * time.Second
	// CancelGrace is how long a plugin may take to end a cancelled call.
	CancelGrace = 2 * time.Second
)

const maxIdentity = 256

type timeouts struct{ quick, check, silence time.Duration }

func defaultTimeouts() timeouts { return timeouts{QuickTimeout, CheckTimeout, SilenceTimeout} }

// ComponentRef names a component at a revision.
type ComponentRef struct {
	ID       string
	Name     string
	Revision int
}

// ConfigureRequest makes an instance.
type ConfigureRequest struct {
	// Instance is its id, made new for each (process, component, revision).
	Instance string
	Type     string
	Flavor   string
	// Config is a JSON object with defaults filled in and no secret value.
	Config json.RawMessage
	// Secrets are the values of the config's references, by reference.
	Secrets       map[string]string
	HostFeatures  []string
	ExchangeRoots []string
	Component     ComponentRef
}

// Configured is what a plugin answers to a ConfigureRequest.
type Configured struct {
	// Diagnostics with an error among them mean that no instance was made.
	Diagnostics diag.List
	Features    []string
	// Facts is the component type's Facts message in JSON.
	Facts json.RawMessage
}

// OpenRequest identifies a backend.
type OpenRequest struct {
	Instance string
	// ProbePath is a file that the host wrote; empty for no probe.
	ProbePath string
	HomeID    string
}

// Opened is what a plugin answers to an OpenRequest.
type Opened struct {
	Identity string
	Probe    []byte
}

// CheckDepth says how deep a check looks.
type CheckDepth string

// The depths.
const (
	DepthReachable CheckDepth = "reachable"
	DepthRoundTrip CheckDepth = "round_trip"
)

// CheckState is what a check found.
type CheckState string

// The states.
const (
	CheckOK       CheckState = "ok"
	CheckDegraded CheckState = "degraded"
	CheckFailed   CheckState = "failed"
)

// CheckResult is what a check found.
type CheckResult struct {
	State       CheckState
	Diagnostics diag.List
	// Latency is the time that the backend took to answer.
	Latency time.Duration
}

// Client calls the service that every plugin has. Its errors are
// *diag.PluginError, or wrap the context's where the caller's context ended.
// Safe for concurrent use.
type Client struct {
	rpc commonv1.PluginServiceClient
	t   timeouts
}

// NewClient makes a client on a connection.
func NewClient(cc grpc.ClientConnInterface) *Client {
	return &Client{rpc: commonv1.NewPluginServiceClient(cc), t: defaultTimeouts()}
}

// Describe asks the plugin what it is.
func (c *Client) Describe(ctx context.Context) (Description, error) {
	res, err := call(ctx, c.t.quick, "Describe", c.rpc.Describe, &commonv1.DescribeRequest{})
	if err != nil {
		return Description{}, err
	}
	d, err := DescriptionFromProto(res)
	if err != nil {
		return Description{}, broken("Describe", "%v", err)
	}
	return d, nil
}

// ValidateConfig asks a flavor to judge a config.
func (c *Client) ValidateConfig(ctx context.Context, componentType, flavor string, config json.RawMessage) (diag.List, error) {
	res, err := call(ctx, c.t.quick, "ValidateConfig", c.rpc.ValidateConfig, &commonv1.ValidateConfigRequest{
		Type: componentType, Flavor: flavor, Config: config,
	})
	if err != nil {
		return nil, err
	}
	return DiagnosticsFromProto(res.GetDiagnostics()), nil
}

// Configure makes an instance.
func (c *Client) Configure(ctx context.Context, r ConfigureRequest) (Configured, error) {
	res, err := call(ctx, c.t.quick, "Configure", c.rpc.Configure, ConfigureRequestToProto(r))
	if err != nil {
		return Configured{}, err
	}
	out := Configured{
		Diagnostics: DiagnosticsFromProto(res.GetDiagnostics()),
		Features:    res.GetFeatures(),
		Facts:       res.GetFacts(),
	}
	if err := checkList("the instance", "feature", out.Features, validName); err != nil {
		return Configured{}, broken("Configure", "%v", err)
	}
	if len(out.Facts) > MaxFacts {
		return Configured{}, broken("Configure", "the facts have %d bytes", len(out.Facts))
	}
	return out, nil
}

// ConfigureRequestToProto converts a request.
func ConfigureRequestToProto(r ConfigureRequest) *commonv1.ConfigureRequest {
	return &commonv1.ConfigureRequest{
		Instance: r.Instance, Type: r.Type, Flavor: r.Flavor, Config: r.Config,
		Secrets: r.Secrets, HostFeatures: r.HostFeatures, ExchangeRoots: r.ExchangeRoots,
		Component: &commonv1.ComponentRef{
			Id: r.Component.ID, Name: r.Component.Name, Revision: uint32(max(0, r.Component.Revision)),
		},
	}
}

// ConfigureRequestFromProto converts a request.
func ConfigureRequestFromProto(p *commonv1.ConfigureRequest) ConfigureRequest {
	return ConfigureRequest{
		Instance: p.GetInstance(), Type: p.GetType(), Flavor: p.GetFlavor(), Config: p.GetConfig(),
		Secrets: p.GetSecrets(), HostFeatures: p.GetHostFeatures(), ExchangeRoots: p.GetExchangeRoots(),
		Component: ComponentRef{
			ID: p.GetComponent().GetId(), Name: p.GetComponent().GetName(), Revision: int(p.GetComponent().GetRevision()),
		},
	}
}

// Open identifies the backend of an instance.
func (c *Client) Open(ctx context.Context, r OpenRequest) (Opened, error) {
	res, err := call(ctx, c.t.check, "Open", c.rpc.Open, &commonv1.OpenRequest{
		Instance: r.Instance, ProbePath: r.ProbePath, HomeId: r.HomeID,
	})
	if err != nil {
		return Opened{}, err
	}
	id := res.GetIdentity()
	if len(id) > maxIdentity || clean(id, maxIdentity) != id {
		return Opened{}, broken("Open", "the identity is not a line of at most %d bytes", maxIdentity)
	}
	if len(res.GetProbe()) > MaxProbe {
		return Opened{}, broken("Open", "the probe has %d bytes", len(res.GetProbe()))
	}
	return Opened{Identity: id, Probe: res.GetProbe()}, nil
}

// Check looks whether the backend of an instance works.
func (c *Client) Check(ctx context.Context, instance string, depth CheckDepth) (CheckResult, error) {
	p := commonv1.CheckDepth_CHECK_DEPTH_REACHABLE
	if depth == DepthRoundTrip {
		p = commonv1.CheckDepth_CHECK_DEPTH_ROUND_TRIP
	}
	res, err := call(ctx, c.t.check, "Check", c.rpc.Check, &commonv1.CheckRequest{Instance: instance, Depth: p})
	if err != nil {
		return CheckResult{}, err
	}
	out := CheckResult{Diagnostics: DiagnosticsFromProto(res.GetDiagnostics())}
	if us := res.GetLatencyUs(); us > 0 && us < int64(time.Hour/time.Microsecond) {
		out.Latency = time.Duration(us) * time.Microsecond
	}
	switch res.GetState() {
	case commonv1.CheckState_CHECK_STATE_OK:
		out.State = CheckOK
	case commonv1.CheckState_CHECK_STATE_DEGRADED:
		out.State = CheckDegraded
	case commonv1.CheckState_CHECK_STATE_FAILED:
		out.State = CheckFailed
	default:
		return CheckResult{}, broken("Check", "the state %d is unknown", res.GetState())
	}
	return out, nil
}

// Release gives an instance up.
func (c *Client) Release(ctx context.Context, instance string) error {
	_, err := call(ctx, c.t.quick, "Release", c.rpc.Release, &commonv1.ReleaseRequest{Instance: instance})
	return err
}

// SetLogLevel changes the level of the plugin's log: trace, debug, info, warn
// or error.
func (c *Client) SetLogLevel(ctx context.Context, level string) error {
	_, err := call(ctx, c.t.quick, "SetLogLevel", c.rpc.SetLogLevel, &commonv1.SetLogLevelRequest{Level: level})
	return err
}

// call makes a unary call with its class's deadline.
func call[Req, Res any](
	ctx context.Context, limit time.Duration, method string,
	rpc func(context.Context, *Req, ...grpc.CallOption) (*Res, error), req *Req,
) (*Res, error) {
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := rpc(inner, req)
	if err == nil {
		return res, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("call %s: %w", method, context.Cause(ctx))
	}
	if inner.Err() != nil {
		return nil, silent(method, limit)
	}
	return nil, FromStatus(err)
}

// silent is the error of a call that was given up.
func silent(method string, limit time.Duration) *diag.PluginError {
	return &diag.PluginError{
		Reason: diag.ErrTimeout, Retry: diag.RetryUnknownOutcome, Fault: diag.FaultPlugin,
		Summary: fmt.Sprintf("the plugin did not answer %s for %s", method, limit),
	}
}

// broken is the error of an answer that breaks the contract.
func broken(method, format string, args ...any) *diag.PluginError {
	return &diag.PluginError{
		Reason: diag.ErrInternal, Retry: diag.RetryNever, Fault: diag.FaultPlugin,
		Summary: fmt.Sprintf("the plugin's answer to %s breaks the contract: ", method) + fmt.Sprintf(format, args...),
		Hint:    "this is always an error in the plugin; report it to its developer",
	}
}
