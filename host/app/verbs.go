package app

import (
	"context"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

var _ api.Service = (*Host)(nil)

// opener gives the API that a call needs: Host.reader or Host.writer.
type opener func(context.Context) (api.Service, error)

// call opens what a call needs and makes it. Its error is a *diag.Error, as it
// would be over a socket.
func call[Req, Res any](ctx context.Context, open opener, method func(api.Service, context.Context, Req) (Res, error), r Req) (Res, error) {
	var none Res
	s, err := open(ctx)
	if err != nil {
		return none, api.AsError(err)
	}
	res, err := method(s, ctx, r)
	if err != nil {
		return none, api.AsError(err)
	}
	return res, nil
}

// stream is call for a server stream.
func stream[Req, Msg any](ctx context.Context, open opener, method func(api.Service, context.Context, Req, func(Msg) error) error, r Req, send func(Msg) error) error {
	s, err := open(ctx)
	if err == nil {
		err = method(s, ctx, r, send)
	}
	if err != nil {
		return api.AsError(err)
	}
	return nil
}

// GetVersion answers before anything else is asked.
func (h *Host) GetVersion(context.Context, *apiv1.GetVersionRequest) (*apiv1.GetVersionResponse, error) {
	return &apiv1.GetVersionResponse{Version: Version, ApiMajor: APIMajor}, nil
}

// GetStatus says where the home is, what runs, and which hosts live on it.
func (h *Host) GetStatus(ctx context.Context, r *apiv1.GetStatusRequest) (*apiv1.GetStatusResponse, error) {
	return call(ctx, h.reader, api.Service.GetStatus, r)
}

// InitProject makes the project that a directory is the root of known.
func (h *Host) InitProject(ctx context.Context, r *apiv1.InitProjectRequest) (*apiv1.InitProjectResponse, error) {
	return call(ctx, h.reader, api.Service.InitProject, r)
}

// ListPlugins is as the contract says.
func (h *Host) ListPlugins(ctx context.Context, r *apiv1.ListPluginsRequest) (*apiv1.ListPluginsResponse, error) {
	return call(ctx, h.reader, api.Service.ListPlugins, r)
}

// DescribePlugin is as the contract says.
func (h *Host) DescribePlugin(ctx context.Context, r *apiv1.DescribePluginRequest) (*apiv1.DescribePluginResponse, error) {
	return call(ctx, h.reader, api.Service.DescribePlugin, r)
}

// ApprovePlugin accepts a binary as it is now.
func (h *Host) ApprovePlugin(ctx context.Context, r *apiv1.ApprovePluginRequest) (*apiv1.ApprovePluginResponse, error) {
	return call(ctx, h.writer, api.Service.ApprovePlugin, r)
}

// ListFlavors is as the contract says.
func (h *Host) ListFlavors(ctx context.Context, r *apiv1.ListFlavorsRequest) (*apiv1.ListFlavorsResponse, error) {
	return call(ctx, h.reader, api.Service.ListFlavors, r)
}

// DescribeFlavor is as the contract says.
func (h *Host) DescribeFlavor(ctx context.Context, r *apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error) {
	return call(ctx, h.reader, api.Service.DescribeFlavor, r)
}

// RegisterComponent is as the contract says.
func (h *Host) RegisterComponent(ctx context.Context, r *apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error) {
	return call(ctx, h.writer, api.Service.RegisterComponent, r)
}

// ListComponents is as the contract says.
func (h *Host) ListComponents(ctx context.Context, r *apiv1.ListComponentsRequest) (*apiv1.ListComponentsResponse, error) {
	return call(ctx, h.reader, api.Service.ListComponents, r)
}

// GetComponent is as the contract says.
func (h *Host) GetComponent(ctx context.Context, r *apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error) {
	return call(ctx, h.reader, api.Service.GetComponent, r)
}

// UpdateComponent makes the next revision.
func (h *Host) UpdateComponent(ctx context.Context, r *apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error) {
	return call(ctx, h.writer, api.Service.UpdateComponent, r)
}

// RenameComponent is as the contract says.
func (h *Host) RenameComponent(ctx context.Context, r *apiv1.RenameComponentRequest) (*apiv1.RenameComponentResponse, error) {
	return call(ctx, h.writer, api.Service.RenameComponent, r)
}

// CopyComponent is as the contract says.
func (h *Host) CopyComponent(ctx context.Context, r *apiv1.CopyComponentRequest) (*apiv1.CopyComponentResponse, error) {
	return call(ctx, h.writer, api.Service.CopyComponent, r)
}

// DeleteComponent is as the contract says.
func (h *Host) DeleteComponent(ctx context.Context, r *apiv1.DeleteComponentRequest) (*apiv1.DeleteComponentResponse, error) {
	return call(ctx, h.writer, api.Service.DeleteComponent, r)
}

// RegisterStack is as the contract says.
func (h *Host) RegisterStack(ctx context.Context, r *apiv1.RegisterStackRequest) (*apiv1.RegisterStackResponse, error) {
	return call(ctx, h.writer, api.Service.RegisterStack, r)
}

// ListStacks is as the contract says.
func (h *Host) ListStacks(ctx context.Context, r *apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
	return call(ctx, h.reader, api.Service.ListStacks, r)
}

// GetStack is as the contract says.
func (h *Host) GetStack(ctx context.Context, r *apiv1.GetStackRequest) (*apiv1.GetStackResponse, error) {
	return call(ctx, h.reader, api.Service.GetStack, r)
}

// UpdateStack is as the contract says.
func (h *Host) UpdateStack(ctx context.Context, r *apiv1.UpdateStackRequest) (*apiv1.UpdateStackResponse, error) {
	return call(ctx, h.writer, api.Service.UpdateStack, r)
}

// RenameStack is as the contract says.
func (h *Host) RenameStack(ctx context.Context, r *apiv1.RenameStackRequest) (*apiv1.RenameStackResponse, error) {
	return call(ctx, h.writer, api.Service.RenameStack, r)
}

// CopyStack is as the contract says.
func (h *Host) CopyStack(ctx context.Context, r *apiv1.CopyStackRequest) (*apiv1.CopyStackResponse, error) {
	return call(ctx, h.writer, api.Service.CopyStack, r)
}

// DeleteStack is as the contract says.
func (h *Host) DeleteStack(ctx context.Context, r *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error) {
	return call(ctx, h.writer, api.Service.DeleteStack, r)
}

// ValidateStack asks what there is to ask; with check, the backends too.
func (h *Host) ValidateStack(ctx context.Context, r *apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error) {
	return call(ctx, h.reader, api.Service.ValidateStack, r)
}

// SetActiveStack is as the contract says.
func (h *Host) SetActiveStack(ctx context.Context, r *apiv1.SetActiveStackRequest) (*apiv1.SetActiveStackResponse, error) {
	return call(ctx, h.writer, api.Service.SetActiveStack, r)
}

// GetActiveStack is as the contract says.
func (h *Host) GetActiveStack(ctx context.Context, r *apiv1.GetActiveStackRequest) (*apiv1.GetActiveStackResponse, error) {
	return call(ctx, h.reader, api.Service.GetActiveStack, r)
}

// CreateSecret is as the contract says.
func (h *Host) CreateSecret(ctx context.Context, r *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error) {
	return call(ctx, h.writer, api.Service.CreateSecret, r)
}

// ListSecrets is as the contract says.
func (h *Host) ListSecrets(ctx context.Context, r *apiv1.ListSecretsRequest) (*apiv1.ListSecretsResponse, error) {
	return call(ctx, h.reader, api.Service.ListSecrets, r)
}

// GetSecret gives the keys, and the values only where they are asked for.
func (h *Host) GetSecret(ctx context.Context, r *apiv1.GetSecretRequest) (*apiv1.GetSecretResponse, error) {
	return call(ctx, h.reader, api.Service.GetSecret, r)
}

// UpdateSecret is as the contract says.
func (h *Host) UpdateSecret(ctx context.Context, r *apiv1.UpdateSecretRequest) (*apiv1.UpdateSecretResponse, error) {
	return call(ctx, h.writer, api.Service.UpdateSecret, r)
}

// DeleteSecret is as the contract says.
func (h *Host) DeleteSecret(ctx context.Context, r *apiv1.DeleteSecretRequest) (*apiv1.DeleteSecretResponse, error) {
	return call(ctx, h.writer, api.Service.DeleteSecret, r)
}

// CreateRun validates a pipeline against its stack and starts it. Answered
// after the run is durable.
func (h *Host) CreateRun(ctx context.Context, r *apiv1.CreateRunRequest) (*apiv1.CreateRunResponse, error) {
	return call(ctx, h.writer, api.Service.CreateRun, r)
}

// ResumeRun acquires a run and goes on with it. The pipeline that the program
// traced must be that of the run.
func (h *Host) ResumeRun(ctx context.Context, r *apiv1.ResumeRunRequest) (*apiv1.ResumeRunResponse, error) {
	return call(ctx, h.writer, api.Service.ResumeRun, r)
}

// OpenSession binds a program to a run that this host owns, until the stream
// ends. The end of the stream is the loss of the program. It begins with one
// message and repeats it as a heartbeat every 5 s.
func (h *Host) OpenSession(ctx context.Context, r *apiv1.OpenSessionRequest, send func(*apiv1.OpenSessionResponse) error) error {
	return stream(ctx, h.writer, api.Service.OpenSession, r, send)
}

// NextJob waits up to 25 s for something to do. Level-triggered: what was
// handed out and is not in the next request is handed out again.
func (h *Host) NextJob(ctx context.Context, r *apiv1.NextJobRequest) (*apiv1.NextJobResponse, error) {
	return call(ctx, h.writer, api.Service.NextJob, r)
}

// CompleteJob says that the attempt's result file stands. Idempotent by
// attempt; answered after the commit.
func (h *Host) CompleteJob(ctx context.Context, r *apiv1.CompleteJobRequest) (*apiv1.CompleteJobResponse, error) {
	return call(ctx, h.writer, api.Service.CompleteJob, r)
}

// GetStepSecret gives a secret that the attempt's step declared.
func (h *Host) GetStepSecret(ctx context.Context, r *apiv1.GetStepSecretRequest) (*apiv1.GetStepSecretResponse, error) {
	return call(ctx, h.writer, api.Service.GetStepSecret, r)
}

// RecordProvenance gives what made a run that this host owns, where it was
// not ready for CreateRun. The last one given counts.
func (h *Host) RecordProvenance(ctx context.Context, r *apiv1.RecordProvenanceRequest) (*apiv1.RecordProvenanceResponse, error) {
	return call(ctx, h.writer, api.Service.RecordProvenance, r)
}

// ListRuns is as the contract says.
func (h *Host) ListRuns(ctx context.Context, r *apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error) {
	return call(ctx, h.reader, api.Service.ListRuns, r)
}

// GetRun is as the contract says.
func (h *Host) GetRun(ctx context.Context, r *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
	return call(ctx, h.reader, api.Service.GetRun, r)
}

// WatchRun streams events from a cursor on, and ends after the run's end.
func (h *Host) WatchRun(ctx context.Context, r *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
	return stream(ctx, h.reader, api.Service.WatchRun, r, send)
}

// ReadLog streams a step's or the run's log from a byte offset on.
func (h *Host) ReadLog(ctx context.Context, r *apiv1.ReadLogRequest, send func(*apiv1.ReadLogResponse) error) error {
	return stream(ctx, h.reader, api.Service.ReadLog, r, send)
}

// CancelRun is as the contract says.
func (h *Host) CancelRun(ctx context.Context, r *apiv1.CancelRunRequest) (*apiv1.CancelRunResponse, error) {
	return call(ctx, h.writer, api.Service.CancelRun, r)
}

// DeleteRun deletes rows and logs. Artifact versions stay.
func (h *Host) DeleteRun(ctx context.Context, r *apiv1.DeleteRunRequest) (*apiv1.DeleteRunResponse, error) {
	return call(ctx, h.writer, api.Service.DeleteRun, r)
}

// ListPipelines is as the contract says.
func (h *Host) ListPipelines(ctx context.Context, r *apiv1.ListPipelinesRequest) (*apiv1.ListPipelinesResponse, error) {
	return call(ctx, h.reader, api.Service.ListPipelines, r)
}

// ListArtifacts is as the contract says.
func (h *Host) ListArtifacts(ctx context.Context, r *apiv1.ListArtifactsRequest) (*apiv1.ListArtifactsResponse, error) {
	return call(ctx, h.reader, api.Service.ListArtifacts, r)
}

// GetArtifact is as the contract says.
func (h *Host) GetArtifact(ctx context.Context, r *apiv1.GetArtifactRequest) (*apiv1.GetArtifactResponse, error) {
	return call(ctx, h.reader, api.Service.GetArtifact, r)
}

// FetchArtifact writes the content to a path on the host's machine.
func (h *Host) FetchArtifact(ctx context.Context, r *apiv1.FetchArtifactRequest) (*apiv1.FetchArtifactResponse, error) {
	return call(ctx, h.reader, api.Service.FetchArtifact, r)
}

// ReadArtifact streams the content of a file.
func (h *Host) ReadArtifact(ctx context.Context, r *apiv1.ReadArtifactRequest, send func(*apiv1.ReadArtifactResponse) error) error {
	return stream(ctx, h.reader, api.Service.ReadArtifact, r, send)
}

// GetLineage is as the contract says.
func (h *Host) GetLineage(ctx context.Context, r *apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error) {
	return call(ctx, h.reader, api.Service.GetLineage, r)
}

// VerifyArtifact reads the stored bytes and compares their digest.
func (h *Host) VerifyArtifact(ctx context.Context, r *apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error) {
	return call(ctx, h.reader, api.Service.VerifyArtifact, r)
}
