// Package api is the host API as a Go interface, its implementation over the
// host's parts, and the Connect handlers that put it on a socket.
package api

import (
	"context"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// Service is the whole host API. Embedded, it is called directly; on a socket,
// through Handler. A server stream is a function that is called for each
// message; the stream ends when the method returns. Its errors are *diag.Error
// values. Safe for concurrent use.
type Service interface {
	HostService
	RegistryService
	SecretService
	RunService
	ArtifactService
}

// HostService is the HostService of the contract.
type HostService interface {
	// GetVersion answers before anything else is asked.
	GetVersion(context.Context, *apiv1.GetVersionRequest) (*apiv1.GetVersionResponse, error)
	// GetStatus says where the home is, what runs, and which hosts live on it.
	GetStatus(context.Context, *apiv1.GetStatusRequest) (*apiv1.GetStatusResponse, error)
	// InitProject makes the project that a directory is the root of known.
	InitProject(context.Context, *apiv1.InitProjectRequest) (*apiv1.InitProjectResponse, error)
}

// RegistryService is the RegistryService of the contract.
type RegistryService interface {
	ListPlugins(context.Context, *apiv1.ListPluginsRequest) (*apiv1.ListPluginsResponse, error)
	DescribePlugin(context.Context, *apiv1.DescribePluginRequest) (*apiv1.DescribePluginResponse, error)
	// ApprovePlugin accepts a binary as it is now.
	ApprovePlugin(context.Context, *apiv1.ApprovePluginRequest) (*apiv1.ApprovePluginResponse, error)
	ListFlavors(context.Context, *apiv1.ListFlavorsRequest) (*apiv1.ListFlavorsResponse, error)
	DescribeFlavor(context.Context, *apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error)
	RegisterComponent(context.Context, *apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error)
	ListComponents(context.Context, *apiv1.ListComponentsRequest) (*apiv1.ListComponentsResponse, error)
	GetComponent(context.Context, *apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error)
	// UpdateComponent makes the next revision.
	UpdateComponent(context.Context, *apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error)
	RenameComponent(context.Context, *apiv1.RenameComponentRequest) (*apiv1.RenameComponentResponse, error)
	CopyComponent(context.Context, *apiv1.CopyComponentRequest) (*apiv1.CopyComponentResponse, error)
	DeleteComponent(context.Context, *apiv1.DeleteComponentRequest) (*apiv1.DeleteComponentResponse, error)
	RegisterStack(context.Context, *apiv1.RegisterStackRequest) (*apiv1.RegisterStackResponse, error)
	ListStacks(context.Context, *apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error)
	GetStack(context.Context, *apiv1.GetStackRequest) (*apiv1.GetStackResponse, error)
	UpdateStack(context.Context, *apiv1.UpdateStackRequest) (*apiv1.UpdateStackResponse, error)
	RenameStack(context.Context, *apiv1.RenameStackRequest) (*apiv1.RenameStackResponse, error)
	CopyStack(context.Context, *apiv1.CopyStackRequest) (*apiv1.CopyStackResponse, error)
	DeleteStack(context.Context, *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error)
	// ValidateStack asks what there is to ask; with check, the backends too.
	ValidateStack(context.Context, *apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error)
	SetActiveStack(context.Context, *apiv1.SetActiveStackRequest) (*apiv1.SetActiveStackResponse, error)
	GetActiveStack(context.Context, *apiv1.GetActiveStackRequest) (*apiv1.GetActiveStackResponse, error)
}

// SecretService is the SecretService of the contract.
type SecretService interface {
	CreateSecret(context.Context, *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error)
	ListSecrets(context.Context, *apiv1.ListSecretsRequest) (*apiv1.ListSecretsResponse, error)
	// GetSecret gives the keys, and the values only where they are asked for.
	GetSecret(context.Context, *apiv1.GetSecretRequest) (*apiv1.GetSecretResponse, error)
	UpdateSecret(context.Context, *apiv1.UpdateSecretRequest) (*apiv1.UpdateSecretResponse, error)
	DeleteSecret(context.Context, *apiv1.DeleteSecretRequest) (*apiv1.DeleteSecretResponse, error)
}

// RunService is the RunService of the contract.
type RunService interface {
	// CreateRun validates a pipeline against its stack and starts it. Answered
	// after the run is durable.
	CreateRun(context.Context, *apiv1.CreateRunRequest) (*apiv1.CreateRunResponse, error)
	// ResumeRun acquires a run and goes on with it. The pipeline that the program
	// traced must be that of the run.
	ResumeRun(context.Context, *apiv1.ResumeRunRequest) (*apiv1.ResumeRunResponse, error)
	// OpenSession binds a program to a run that this host owns, until the stream
	// ends. The end of the stream is the loss of the program. It begins with one
	// message and repeats it as a heartbeat every 5 s.
	OpenSession(context.Context, *apiv1.OpenSessionRequest, func(*apiv1.OpenSessionResponse) error) error
	// NextJob waits up to 25 s for something to do. Level-triggered: what was
	// handed out and is not in the next request is handed out again.
	NextJob(context.Context, *apiv1.NextJobRequest) (*apiv1.NextJobResponse, error)
	// CompleteJob says that the attempt's result file stands. Idempotent by
	// attempt; answered after the commit.
	CompleteJob(context.Context, *apiv1.CompleteJobRequest) (*apiv1.CompleteJobResponse, error)
	// GetStepSecret gives a secret that the attempt's step declared.
	GetStepSecret(context.Context, *apiv1.GetStepSecretRequest) (*apiv1.GetStepSecretResponse, error)
	// RecordProvenance gives what made a run that this host owns, where it was
	// not ready for CreateRun. The last one given counts.
	RecordProvenance(context.Context, *apiv1.RecordProvenanceRequest) (*apiv1.RecordProvenanceResponse, error)
	ListRuns(context.Context, *apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error)
	GetRun(context.Context, *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error)
	// WatchRun streams events from a cursor on, and ends after the run's end.
	WatchRun(context.Context, *apiv1.WatchRunRequest, func(*apiv1.WatchRunResponse) error) error
	// ReadLog streams a step's or the run's log from a byte offset on.
	ReadLog(context.Context, *apiv1.ReadLogRequest, func(*apiv1.ReadLogResponse) error) error
	CancelRun(context.Context, *apiv1.CancelRunRequest) (*apiv1.CancelRunResponse, error)
	// DeleteRun deletes rows and logs. Artifact versions stay.
	DeleteRun(context.Context, *apiv1.DeleteRunRequest) (*apiv1.DeleteRunResponse, error)
	ListPipelines(context.Context, *apiv1.ListPipelinesRequest) (*apiv1.ListPipelinesResponse, error)
}

// ArtifactService is the ArtifactService of the contract.
type ArtifactService interface {
	ListArtifacts(context.Context, *apiv1.ListArtifactsRequest) (*apiv1.ListArtifactsResponse, error)
	GetArtifact(context.Context, *apiv1.GetArtifactRequest) (*apiv1.GetArtifactResponse, error)
	// FetchArtifact writes the content to a path on the host's machine.
	FetchArtifact(context.Context, *apiv1.FetchArtifactRequest) (*apiv1.FetchArtifactResponse, error)
	// ReadArtifact streams the content of a file.
	ReadArtifact(context.Context, *apiv1.ReadArtifactRequest, func(*apiv1.ReadArtifactResponse) error) error
	GetLineage(context.Context, *apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error)
	// VerifyArtifact reads the stored bytes and compares their digest.
	VerifyArtifact(context.Context, *apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error)
}
