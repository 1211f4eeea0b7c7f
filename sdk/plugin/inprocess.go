package plugin

import (
	"context"
	"net"

	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// InProcess serves flavors over gRPC in this process, for tests: all is as with
// Serve, but for the process. Call stop at the end.
func InProcess(info Info, flavors ...Flavor) (conn *grpc.ClientConn, stop func(), err error) {
	log := hclog.NewNullLogger()
	s := newServer(info, flavors, log)
	g := newGRPCServer(log)
	s.register(g)
	lis := bufconn.Listen(1 << 20)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(lis) // it ends with stop
	}()
	conn, err = grpc.NewClient("passthrough:in-process", append(wire.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
	)...)
	stop = func() {
		if conn != nil {
			conn.Close()
		}
		g.Stop()
		<-served
		s.shutDown(shutDownLimit)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return conn, stop, nil
}
