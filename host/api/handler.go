package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/proto/cairn/api/v1/apiv1connect"
)

// maxMessage bounds what a client may send in one message: a pipeline of some
// ten thousand steps.
const maxMessage = 64 << 20

// Handler serves a Service by Connect, gRPC-Web and plain JSON over HTTP/1.1,
// and by gRPC where the server speaks HTTP/2. An error carries its Problem.
func Handler(service Service) http.Handler {
	s := streams{service}
	options := []connect.HandlerOption{
		connect.WithInterceptors(serverErrors{}),
		connect.WithReadMaxBytes(maxMessage),
		// Over a socket of this machine compression only costs time.
		connect.WithCompression("gzip", nil, nil),
	}
	mux := http.NewServeMux()
	mux.Handle(apiv1connect.NewHostServiceHandler(service, options...))
	mux.Handle(apiv1connect.NewRegistryServiceHandler(service, options...))
	mux.Handle(apiv1connect.NewSecretServiceHandler(service, options...))
	mux.Handle(apiv1connect.NewRunServiceHandler(s, options...))
	mux.Handle(apiv1connect.NewArtifactServiceHandler(s, options...))
	return mux
}

// streams puts Connect's streams in the place of a Service's functions.
type streams struct{ Service }

func (s streams) OpenSession(ctx context.Context, r *apiv1.OpenSessionRequest, out *connect.ServerStream[apiv1.OpenSessionResponse]) error {
	return s.Service.OpenSession(ctx, r, out.Send)
}

func (s streams) WatchRun(ctx context.Context, r *apiv1.WatchRunRequest, out *connect.ServerStream[apiv1.WatchRunResponse]) error {
	return s.Service.WatchRun(ctx, r, out.Send)
}

func (s streams) ReadLog(ctx context.Context, r *apiv1.ReadLogRequest, out *connect.ServerStream[apiv1.ReadLogResponse]) error {
	return s.Service.ReadLog(ctx, r, out.Send)
}

func (s streams) ReadArtifact(ctx context.Context, r *apiv1.ReadArtifactRequest, out *connect.ServerStream[apiv1.ReadArtifactResponse]) error {
	return s.Service.ReadArtifact(ctx, r, out.Send)
}

// serverErrors makes each error of a handler one of the wire.
type serverErrors struct{}

func (serverErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, r)
		if err != nil {
			return nil, connectError(err)
		}
		return res, nil
	}
}

func (serverErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (serverErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, conn); err != nil {
			return connectError(err)
		}
		return nil
	}
}
