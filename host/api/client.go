package api

import (
	"context"

	"connectrpc.com/connect"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/proto/cairn/api/v1/apiv1connect"
)

// Client is the Service of a host behind a socket. Its errors are the same
// *diag.Error values that the host's own Service gives. baseURL is such as
// "http://cairn", with an HTTP client that dials the socket whatever the name.
func Client(httpClient connect.HTTPClient, baseURL string) Service {
	options := []connect.ClientOption{connect.WithInterceptors(clientErrors{})}
	return &client{
		HostServiceClient:     apiv1connect.NewHostServiceClient(httpClient, baseURL, options...),
		RegistryServiceClient: apiv1connect.NewRegistryServiceClient(httpClient, baseURL, options...),
		SecretServiceClient:   apiv1connect.NewSecretServiceClient(httpClient, baseURL, options...),
		runs:                  apiv1connect.NewRunServiceClient(httpClient, baseURL, options...),
		artifacts:             apiv1connect.NewArtifactServiceClient(httpClient, baseURL, options...),
	}
}

type (
	runs      = apiv1connect.RunServiceClient
	artifacts = apiv1connect.ArtifactServiceClient
)

type client struct {
	apiv1connect.HostServiceClient
	apiv1connect.RegistryServiceClient
	apiv1connect.SecretServiceClient
	runs
	artifacts
}

func (c *client) OpenSession(ctx context.Context, r *apiv1.OpenSessionRequest, send func(*apiv1.OpenSessionResponse) error) error {
	stream, err := c.runs.OpenSession(ctx, r)
	return drain(ctx, stream, err, send)
}

func (c *client) WatchRun(ctx context.Context, r *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
	stream, err := c.runs.WatchRun(ctx, r)
	return drain(ctx, stream, err, send)
}

func (c *client) ReadLog(ctx context.Context, r *apiv1.ReadLogRequest, send func(*apiv1.ReadLogResponse) error) error {
	stream, err := c.runs.ReadLog(ctx, r)
	return drain(ctx, stream, err, send)
}

func (c *client) ReadArtifact(ctx context.Context, r *apiv1.ReadArtifactRequest, send func(*apiv1.ReadArtifactResponse) error) error {
	stream, err := c.artifacts.ReadArtifact(ctx, r)
	return drain(ctx, stream, err, send)
}

// drain calls send for each message of a stream.
func drain[M any](ctx context.Context, stream *connect.ServerStreamForClient[M], err error, send func(*M) error) error {
	if err != nil {
		return errorFromConnect(ctx, err)
	}
	defer stream.Close()
	for stream.Receive() {
		if err := send(stream.Msg()); err != nil {
			return err
		}
	}
	return errorFromConnect(ctx, stream.Err())
}

// clientErrors makes each error of the wire one of the Service. Streams do it
// in drain.
type clientErrors struct{}

func (clientErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, r)
		if err != nil {
			return nil, errorFromConnect(ctx, err)
		}
		return res, nil
	}
}

func (clientErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (clientErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
