package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

// sdkName is what plugins made with this package are known to be made with.
const sdkName = "go/1"

// server serves what every plugin has.
type server struct {
	commonv1.UnimplementedPluginServiceServer
	info      Info
	flavors   []Flavor
	log       hclog.Logger
	instances *instances
}

func newServer(info Info, flavors []Flavor, log hclog.Logger) *server {
	return &server{info: info, flavors: flavors, log: log, instances: newInstances()}
}

// register puts all services on a gRPC server.
func (s *server) register(r grpc.ServiceRegistrar) {
	commonv1.RegisterPluginServiceServer(r, s)
	artifactstorev1.RegisterArtifactStoreServiceServer(r, &storeServer{instances: s.instances})
	orchestratorv1.RegisterOrchestratorServiceServer(r, &orchestratorServer{instances: s.instances})
}

// shutDown releases all instances, within a time.
func (s *server) shutDown(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var wg sync.WaitGroup
	for _, i := range s.instances.takeAll() {
		wg.Go(func() {
			if err := i.release(ctx); err != nil {
				s.log.Warn("release", "component", i.id, "error", err)
			}
		})
	}
	wg.Wait()
}

func (s *server) flavor(componentType, name string) (*Flavor, error) {
	var names []string
	for i := range s.flavors {
		f := &s.flavors[i]
		if f.componentType == componentType && f.name == name {
			return f, nil
		}
		if f.componentType == componentType {
			names = append(names, f.name)
		}
	}
	return nil, &diag.PluginError{Reason: diag.ErrNotFound, Retry: diag.RetryNever, Fault: diag.FaultConfig,
		Summary: fmt.Sprintf("plugin %s has no %s flavor %q%s", s.info.Name, componentType, name, diag.DidYouMean(name, names))}
}

// Describe says what the plugin is.
func (s *server) Describe(context.Context, *commonv1.DescribeRequest) (*commonv1.DescribeResponse, error) {
	d := wire.Description{Name: s.info.Name, Version: s.info.Version, SDK: sdkName, Channels: []wire.Channel{wire.ChannelInherited}}
	for i := range s.flavors {
		f, err := s.flavors[i].describe()
		if err != nil {
			return nil, wire.ToStatus(err)
		}
		d.Flavors = append(d.Flavors, f)
	}
	return wire.DescriptionToProto(d), nil
}

// ValidateConfig judges a config in which secrets are references.
func (s *server) ValidateConfig(ctx context.Context, req *commonv1.ValidateConfigRequest) (*commonv1.ValidateConfigResponse, error) {
	f, err := s.flavor(req.GetType(), req.GetFlavor())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	_, found, err := s.judge(ctx, f, req.GetConfig())
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	return &commonv1.ValidateConfigResponse{Diagnostics: wire.DiagnosticsToProto(found)}, nil
}

// judge gives the config with its defaults, and what is wrong with it.
func (s *server) judge(ctx context.Context, f *Flavor, cfg json.RawMessage) (json.RawMessage, diag.List, error) {
	schema, err := f.schema()
	if err != nil {
		return nil, nil, err
	}
	if found := schema.Validate(cfg); found.HasError() {
		return nil, found, nil
	}
	cfg, err = schema.ApplyDefaults(cfg)
	if err != nil {
		return nil, nil, err
	}
	var found diag.List
	err = guard(ctx, s.log, "ValidateConfig", func() error {
		found = f.validate(cfg)
		return nil
	})
	return cfg, found, err
}

// UpgradeConfig has nothing to do yet: there is one version of every schema.
func (s *server) UpgradeConfig(_ context.Context, req *commonv1.UpgradeConfigRequest) (*commonv1.UpgradeConfigResponse, error) {
	if _, err := s.flavor(req.GetType(), req.GetFlavor()); err != nil {
		return nil, wire.ToStatus(err)
	}
	if v := req.GetFromVersion(); v != 1 {
		return nil, wire.ToStatus(&diag.PluginError{Reason: diag.ErrUnsupported, Fault: diag.FaultConfig,
			Summary: fmt.Sprintf("the config has schema version %d, and plugin %s %s knows version 1", v, s.info.Name, s.info.Version),
			Hint:    "install the version of the plugin that the component was registered with, or a newer one"})
	}
	return &commonv1.UpgradeConfigResponse{Config: req.GetConfig()}, nil
}

// Configure makes an instance.
func (s *server) Configure(ctx context.Context, req *commonv1.ConfigureRequest) (*commonv1.ConfigureResponse, error) {
	r := wire.ConfigureRequestFromProto(req)
	defer clear(req.GetSecrets())
	f, err := s.flavor(r.Type, r.Flavor)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	if r.Instance == "" {
		return nil, wire.ToStatus(refused("the instance has no id"))
	}
	cfg, found, err := s.judge(ctx, f, r.Config)
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	if found.HasError() {
		return &commonv1.ConfigureResponse{Diagnostics: wire.DiagnosticsToProto(found)}, nil
	}
	i, err := s.open(ctx, f, cfg, r)
	if d, ok := asFinding(err); ok {
		return &commonv1.ConfigureResponse{Diagnostics: wire.DiagnosticsToProto(append(found, d))}, nil
	}
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	facts, err := i.facts()
	if err != nil {
		_ = i.release(ctx) // the error that counts is the first
		return nil, toStatus(ctx, err)
	}
	if old := s.instances.put(i); old != nil {
		if err := old.release(ctx); err != nil {
			s.log.Warn("release of a replaced instance", "error", err)
		}
	}
	return &commonv1.ConfigureResponse{
		Diagnostics: wire.DiagnosticsToProto(found), Features: featuresOf(i.impl), Facts: facts,
	}, nil
}

// open makes the implementation of an instance.
func (s *server) open(ctx context.Context, f *Flavor, cfg json.RawMessage, r wire.ConfigureRequest) (*instance, error) {
	resolved, err := config.Resolve(cfg, config.FromMap(r.Secrets))
	if err != nil {
		return nil, &diag.PluginError{Reason: diag.ErrInvalidConfig, Fault: diag.FaultConfig, Summary: err.Error()}
	}
	log := s.log.With("component", r.Component.Name, "type", r.Type)
	i := &instance{id: r.Instance, flavor: f, log: log, roots: cleanRoots(r.ExchangeRoots)}
	err = guard(ctx, log, "Configure", func() (err error) {
		defer clear(resolved)
		i.impl, i.wipe, err = f.open(ctx, resolved, Instance{
			Component: r.Component.Name, ComponentID: r.Component.ID, Revision: r.Component.Revision, Logger: log,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	if st, ok := i.impl.(Stager); ok {
		i.roots = append(i.roots, cleanRoots([]string{st.StagingDir()})...)
	}
	return i, nil
}

// cleanRoots drops what cannot be a root; files below it are then refused.
func cleanRoots(roots []string) []string {
	var out []string
	for _, r := range roots {
		if filepath.IsAbs(r) && filepath.Clean(r) == r && r != "/" {
			out = append(out, r)
		}
	}
	return out
}

// asFinding is an error that says that the config is not valid.
func asFinding(err error) (diag.Diagnostic, bool) {
	if !errors.Is(err, diag.ErrInvalidConfig) {
		return diag.Diagnostic{}, false
	}
	pe := wire.AsPluginError(err)
	d := diag.Diagnostic{Severity: diag.SeverityError, Fault: diag.FaultConfig, Summary: pe.Summary, Path: pe.Path, Hint: pe.Hint}
	return d, true
}

// facts are the static facts of the instance's component type, in JSON.
func (i *instance) facts() (json.RawMessage, error) {
	switch impl := i.impl.(type) {
	case ArtifactStore:
		f, err := storeFacts(i)
		if err != nil {
			return nil, err
		}
		return wire.StoreFactsToJSON(f)
	case Orchestrator:
		return wire.OrchestratorFactsToJSON(wire.OrchestratorFacts(impl.Facts()))
	}
	return json.RawMessage("{}"), nil
}

// Open identifies the backend, and reads the host's probe.
func (s *server) Open(ctx context.Context, req *commonv1.OpenRequest) (*commonv1.OpenResponse, error) {
	i, ctx, end, err := s.instances.begin(ctx, req.GetInstance())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	res := &commonv1.OpenResponse{}
	switch impl := i.impl.(type) {
	case Opener:
		err = guard(ctx, i.log, "Open", func() error {
			opened, err := impl.Open(ctx, OpenRequest{HomeID: req.GetHomeId()})
			res.Identity = opened.Identity
			return err
		})
	case ArtifactStore:
		res.Identity, err = storeCall{i, impl}.identity(ctx)
	}
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	if req.GetProbePath() != "" {
		res.Probe = i.readProbe(req.GetProbePath())
	}
	return res, nil
}

// readProbe is the content of the host's probe; nothing where it is out of reach.
func (i *instance) readProbe(path string) []byte {
	root, rel, err := i.locate(path)
	if err != nil {
		i.log.Debug("probe", "error", err)
		return nil
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		i.log.Debug("probe", "error", err)
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, wire.MaxProbe))
	if err != nil {
		i.log.Debug("probe", "error", err)
		return nil
	}
	return data
}

// Check looks whether the backend works.
func (s *server) Check(ctx context.Context, req *commonv1.CheckRequest) (*commonv1.CheckResponse, error) {
	i, ctx, end, err := s.instances.begin(ctx, req.GetInstance())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	r := CheckRequest{RoundTrip: req.GetDepth() == commonv1.CheckDepth_CHECK_DEPTH_ROUND_TRIP}
	start := time.Now()
	var found diag.List
	switch impl := i.impl.(type) {
	case Checker:
		err = guard(ctx, i.log, "Check", func() (err error) {
			found, err = impl.Check(ctx, r)
			return err
		})
	case ArtifactStore:
		err = storeCall{i, impl}.check(ctx, r)
	}
	if ctx.Err() != nil {
		return nil, toStatus(ctx, ctx.Err())
	}
	if err != nil {
		pe := wire.AsPluginError(translate(err))
		found = append(slices.Clone(found), diag.Diagnostic{Severity: diag.SeverityError, Summary: pe.Summary, Path: pe.Path, Fault: pe.Fault, Hint: pe.Hint})
	}
	res := &commonv1.CheckResponse{
		State: commonv1.CheckState_CHECK_STATE_OK, Diagnostics: wire.DiagnosticsToProto(found), LatencyUs: time.Since(start).Microseconds(),
	}
	switch {
	case found.HasError():
		res.State = commonv1.CheckState_CHECK_STATE_FAILED
	case len(found) > 0:
		res.State = commonv1.CheckState_CHECK_STATE_DEGRADED
	}
	return res, nil
}

// Release gives an instance up.
func (s *server) Release(ctx context.Context, req *commonv1.ReleaseRequest) (*commonv1.ReleaseResponse, error) {
	i := s.instances.take(req.GetInstance())
	if i == nil {
		return &commonv1.ReleaseResponse{}, nil
	}
	// The host's deadline, less what the answer takes.
	limit := wire.CancelGrace
	if d, ok := ctx.Deadline(); ok {
		limit = time.Until(d) - 100*time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := i.release(ctx); err != nil {
		return nil, toStatus(ctx, err)
	}
	return &commonv1.ReleaseResponse{}, nil
}

// SetLogLevel changes the level of the log.
func (s *server) SetLogLevel(_ context.Context, req *commonv1.SetLogLevelRequest) (*commonv1.SetLogLevelResponse, error) {
	level := hclog.LevelFromString(req.GetLevel())
	if level == hclog.NoLevel || strings.EqualFold(req.GetLevel(), "off") {
		return nil, wire.ToStatus(refused("%q is no log level", req.GetLevel()))
	}
	s.log.SetLevel(level)
	return &commonv1.SetLogLevelResponse{}, nil
}
