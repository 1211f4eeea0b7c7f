package api

import (
	"context"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Parts are what a Server stands on.
type Parts struct {
	Version  string
	APIMajor uint32
	Commit   string

	Home      Home
	Registry  Registry
	Secrets   Secrets
	Plugins   Plugins
	Runs      Runs
	Artifacts Artifacts
	Stores    Stores
	// Engine gives the engine of this host, made when it is first needed.
	Engine func(ctx context.Context) (Engine, error)
	// Drives reports whether this host's engine drives a run; nil where it
	// drives none.
	Drives func(runID string) bool
	// Changed gives a channel that is closed at the next commit of this process;
	// nil where this process commits nothing.
	Changed func() <-chan struct{}
}

// Server is the host API over the host's parts.
type Server struct {
	Parts
}

// NewServer makes a Server.
func NewServer(p Parts) *Server { return &Server{p} }

var _ Service = (*Server)(nil)

// client is what a request's context says of who asks.
func (s *Server) client(c *apiv1.ClientContext) (model.Client, error) {
	out := model.Client{StackFlag: c.GetStack(), StackEnv: c.GetStackEnv()}
	if c.GetProject() != "" {
		out.Project = model.Project{ID: c.GetProject()}
		return out, nil
	}
	if c.GetWorkingDir() == "" {
		out.Project = model.Project{ID: model.DefaultProject}
		return out, nil
	}
	p, err := s.Home.FindProject(c.GetWorkingDir())
	out.Project = p
	return out, err
}

// GetVersion answers before anything else is asked.
func (s *Server) GetVersion(context.Context, *apiv1.GetVersionRequest) (*apiv1.GetVersionResponse, error) {
	return &apiv1.GetVersionResponse{Version: s.Version, ApiMajor: s.APIMajor, Commit: s.Commit}, nil
}

// GetStatus says where the home is, what runs, and which hosts live on it.
func (s *Server) GetStatus(ctx context.Context, r *apiv1.GetStatusRequest) (*apiv1.GetStatusResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetStatusResponse{
		Version: s.Version, Home: s.Home.Dir(), RuntimeDir: s.Home.RuntimeDir(), Project: client.Project.ID,
	}
	// A wrong choice of stack is no reason to tell nothing.
	if active, _, err := s.Registry.Active(ctx, client); err == nil {
		out.ActiveStack = activeToProto(active)
	}
	hosts, err := s.Runs.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if s.Home.Alive(h.ID) {
			out.Hosts = append(out.Hosts, &apiv1.HostProcess{
				Id: h.ID, Pid: int64(h.PID), Version: h.Version, Kind: h.Kind, StartedAt: timestamp(h.StartedAt),
			})
		}
	}
	runs, _, err := s.Runs.ListRuns(ctx, model.RunFilter{State: model.RunRunning, Limit: maxPage})
	if err != nil {
		return nil, err
	}
	if out.ActiveRuns, err = s.runs(ctx, runs); err != nil {
		return nil, err
	}
	return out, nil
}

// InitProject makes the project that a directory is the root of known.
func (s *Server) InitProject(_ context.Context, r *apiv1.InitProjectRequest) (*apiv1.InitProjectResponse, error) {
	if !strings.HasPrefix(r.GetDir(), "/") {
		return nil, diag.Errorf(diag.Invalid, "the directory of a project must be an absolute path, not '%s'", r.GetDir())
	}
	p, made, err := s.Home.InitProject(r.GetDir(), r.GetProject())
	if err != nil {
		return nil, err
	}
	return &apiv1.InitProjectResponse{Project: p.ID, Path: p.File, Created: made}, nil
}
