package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/cairn-stack/cairn/host/pluginhost/guard"
	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// TestMain makes the test binary a guard by its verb, a plugin by its name (a
// link to it is called cairn-plugin-NAME), and a host by a variable.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guard.Verb {
		syscall.Exit(guard.Main(os.Args[2:])) // os.Exit takes a second under the race detector
	}
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), wire.BinaryPrefix); ok {
		bePlugin(name)
		return
	}
	if filepath.Base(os.Args[0]) == "child" {
		hang()
	}
	if dir := os.Getenv(envHost); dir != "" {
		beHost(dir)
		return
	}
	os.Exit(m.Run())
}

// hang waits to be killed.
func hang() { time.Sleep(time.Hour) }

// bePlugin is a plugin written on the wire alone; its name says how it behaves.
func bePlugin(name string) {
	switch name {
	case "broken":
		fmt.Fprintln(os.Stderr, "cannot find my library")
		os.Exit(4)
	}
	p := &fake{name: name, instances: map[string]*commonv1.ConfigureRequest{}}
	if name == "tree" {
		// A child of the plugin, that keeps its pipes and its channel.
		child := exec.Command(filepath.Join(filepath.Dir(os.Args[0]), "child"))
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		child.ExtraFiles = []*os.File{os.NewFile(3, "channel")}
		if err := child.Start(); err != nil {
			panic(err)
		}
		p.child = child.Process.Pid
	}
	fd, err := strconv.Atoi(os.Getenv(wire.EnvChannelFD))
	if err != nil {
		fmt.Fprintln(os.Stderr, "this is a plugin")
		os.Exit(1)
	}
	f := os.NewFile(uintptr(fd), "channel")
	conn, err := net.FileConn(f)
	if err != nil {
		panic(err)
	}
	f.Close()
	s := grpc.NewServer(wire.ServerOptions()...)
	h := health.NewServer()
	h.SetServingStatus(wire.HealthService, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s, h)
	commonv1.RegisterPluginServiceServer(s, p)
	artifactstorev1.RegisterArtifactStoreServiceServer(s, p)
	orchestratorv1.RegisterOrchestratorServiceServer(s, p)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Shutdown",
			Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				defer func() { go s.Stop() }()
				return &emptypb.Empty{}, dec(&emptypb.Empty{})
			},
		}},
	}, struct{}{})
	fmt.Printf("1|1|unix|%s|grpc\n", wire.InheritedAddress)
	s.Serve(&oneConn{conn: conn, end: make(chan struct{})})
	if name == "tree" {
		hang() // it does not even see that its host has gone
	}
	syscall.Exit(0)
}

type oneConn struct {
	conn  net.Conn
	given bool
	end   chan struct{}
	once  sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.end
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { l.once.Do(func() { close(l.end) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: wire.InheritedAddress, Net: "unix"} }

// fake serves one orchestrator and one artifact store flavor, both called like
// the plugin.
type fake struct {
	commonv1.UnimplementedPluginServiceServer
	artifactstorev1.UnimplementedArtifactStoreServiceServer
	orchestratorv1.UnimplementedOrchestratorServiceServer
	name  string
	child int

	mu        sync.Mutex
	instances map[string]*commonv1.ConfigureRequest
}

func (p *fake) Describe(context.Context, *commonv1.DescribeRequest) (*commonv1.DescribeResponse, error) {
	// A line for each launch that described, for tests to count.
	if log := os.Getenv("TZ"); filepath.IsAbs(log) {
		if f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, p.name)
			f.Close()
		}
	}
	d := wire.Description{Name: p.name, Version: "1.0.0", SDK: "none/1", Channels: []wire.Channel{wire.ChannelInherited}}
	majors := []int{1}
	switch p.name {
	case "future":
		majors = []int{7, 8}
	case "liar":
		d.Name = "somebody-else"
	case "remote":
		d.Channels = []wire.Channel{wire.ChannelPrivateSocket}
	}
	for _, t := range []string{"orchestrator", "artifact-store"} {
		f := wire.Flavor{
			Type: t, Name: p.name, Majors: majors, SchemaVersion: 1,
			ConfigSchema: json.RawMessage(`{"type":"object"}`), Summary: "a fake",
		}
		if p.name == "wants-env" {
			f.Env = []string{"FAKE_*"}
		}
		d.Flavors = append(d.Flavors, f)
	}
	return wire.DescriptionToProto(d), nil
}

func (p *fake) ValidateConfig(_ context.Context, r *commonv1.ValidateConfigRequest) (*commonv1.ValidateConfigResponse, error) {
	if strings.Contains(string(r.GetConfig()), "bad") {
		return &commonv1.ValidateConfigResponse{Diagnostics: wire.DiagnosticsToProto(diag.List{
			{Severity: diag.SeverityError, Summary: "is bad", Path: "path", Fault: diag.FaultConfig},
		})}, nil
	}
	return &commonv1.ValidateConfigResponse{}, nil
}

func (p *fake) Configure(_ context.Context, r *commonv1.ConfigureRequest) (*commonv1.ConfigureResponse, error) {
	res := &commonv1.ConfigureResponse{}
	var config struct{ Path string }
	if err := json.Unmarshal(r.GetConfig(), &config); err != nil || config.Path == "bad" {
		res.Diagnostics = wire.DiagnosticsToProto(diag.List{{Severity: diag.SeverityError, Summary: "is bad", Path: "path", Fault: diag.FaultConfig}})
		return res, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instances[r.GetInstance()] = r
	var err error
	if r.GetType() == "artifact-store" {
		res.Facts, err = wire.StoreFactsToJSON(wire.StoreFacts{StagingDir: config.Path, Move: true})
	} else {
		res.Facts, err = wire.OrchestratorFactsToJSON(wire.OrchestratorFacts{Attached: true, MaxParallel: 3})
	}
	return res, wire.ToStatus(err)
}

// instance gives a configured one, as every method needs it.
func (p *fake) instance(id string) (*commonv1.ConfigureRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.instances[id]; ok {
		return r, nil
	}
	return nil, wire.ToStatus(&diag.PluginError{Reason: diag.ErrNotConfigured})
}

func (p *fake) Open(_ context.Context, r *commonv1.OpenRequest) (*commonv1.OpenResponse, error) {
	i, err := p.instance(r.GetInstance())
	if err != nil {
		return nil, err
	}
	res := &commonv1.OpenResponse{Identity: "store-of-" + i.GetComponent().GetName()}
	if r.GetProbePath() != "" && p.name != "blind" {
		res.Probe, err = os.ReadFile(r.GetProbePath())
	}
	return res, wire.ToStatus(err)
}

// Check answers with what the plugin was given.
func (p *fake) Check(_ context.Context, r *commonv1.CheckRequest) (*commonv1.CheckResponse, error) {
	i, err := p.instance(r.GetInstance())
	if err != nil {
		return nil, err
	}
	return &commonv1.CheckResponse{
		State: commonv1.CheckState_CHECK_STATE_OK, LatencyUs: 1500,
		Diagnostics: wire.DiagnosticsToProto(diag.List{
			{Severity: diag.SeverityWarning, Summary: fmt.Sprintf("pid %d child %d env %s secrets %v", os.Getpid(), p.child, os.Getenv("FAKE_TOKEN"), i.GetSecrets())},
		}),
	}, nil
}

func (p *fake) Release(_ context.Context, r *commonv1.ReleaseRequest) (*commonv1.ReleaseResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.instances, r.GetInstance())
	return &commonv1.ReleaseResponse{}, nil
}

func (p *fake) CanRun(_ context.Context, r *orchestratorv1.CanRunRequest) (*orchestratorv1.CanRunResponse, error) {
	if _, err := p.instance(r.GetInstance()); err != nil {
		return nil, err
	}
	res := &orchestratorv1.CanRunResponse{}
	for _, s := range r.GetSteps() {
		if s.GetExecution() == "detached" {
			res.Diagnostics = append(res.Diagnostics, wire.StepDiagnosticToProto(wire.StepDiagnostic{
				Step: s.GetName(), Diagnostic: diag.Diagnostic{Severity: diag.SeverityError, Summary: "cannot run detached"},
			}))
		}
	}
	return res, nil
}

// Stat on the key "die" ends the process; on "forget" it loses its instances.
func (p *fake) Stat(_ context.Context, r *artifactstorev1.StatRequest) (*artifactstorev1.StatResponse, error) {
	if _, err := p.instance(r.GetInstance()); err != nil {
		return nil, err
	}
	res := &artifactstorev1.StatResponse{}
	for _, k := range r.GetKeys() {
		switch k {
		case "die":
			fmt.Fprintln(os.Stderr, "[ERROR] out of luck")
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "forget":
			p.mu.Lock()
			clear(p.instances)
			p.mu.Unlock()
		case "absent":
			res.Items = append(res.Items, wire.ItemResultToProto(wire.ItemResult{Err: &diag.PluginError{Reason: diag.ErrNotFound}}))
			continue
		}
		res.Items = append(res.Items, wire.ItemResultToProto(wire.ItemResult{Object: wire.Object{Key: k, Size: 1}}))
	}
	return res, nil
}

func (p *fake) PutFiles(r *artifactstorev1.PutFilesRequest, out grpc.ServerStreamingServer[artifactstorev1.PutFilesResponse]) error {
	if _, err := p.instance(r.GetInstance()); err != nil {
		return err
	}
	res := &artifactstorev1.PutFilesResult{}
	for _, i := range r.GetItems() {
		res.Items = append(res.Items, wire.ItemResultToProto(wire.ItemResult{
			Object: wire.Object{Key: i.GetKey(), Size: i.GetSize(), Digest: i.GetDigest()},
		}))
	}
	return out.Send(&artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Result{Result: res}})
}
