package launch

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	gprunner "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairn-stack/cairn/sdk/wire"
)

// brokerMethod is go-plugin's broker, which cairn does not use: the stream is
// refused before it reaches the plugin, so that none can feed it.
const brokerMethod = "/plugin.GRPCBroker/StartStream"

// goPlugin is go-plugin's client with the time limits that it lacks. Each call
// into it runs in a goroutine of its own, under recover.
type goPlugin struct {
	client *plugin.Client
	runner *runner
}

func newGoPlugin(r *runner) *goPlugin {
	options := append(wire.DialOptions(),
		grpc.WithContextDialer(r.dial),
		grpc.WithStreamInterceptor(refuseBroker),
	)
	return &goPlugin{runner: r, client: plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  wire.ProtocolVersion,
			MagicCookieKey:   wire.CookieKey,
			MagicCookieValue: wire.CookieValue,
		},
		Plugins:          plugin.PluginSet{wire.PluginSetName: connEntry{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     r.options.StartTimeout,
		Logger:           hclog.NewNullLogger(),
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: r.options.Dir},
		GRPCDialOptions:  options,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (gprunner.Runner, error) {
			r.handshakeEnv = cmd.Env
			return r, nil
		},
	})}
}

// connect starts the process and gives the connection, within ctx.
func (g *goPlugin) connect(ctx context.Context) (*grpc.ClientConn, error) {
	type result struct {
		conn *grpc.ClientConn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		var res result
		res.err = guarded(func() error {
			protocol, err := g.client.Client()
			if err != nil {
				return err
			}
			raw, err := protocol.Dispense(wire.PluginSetName)
			if err != nil {
				return err
			}
			conn, ok := raw.(*grpc.ClientConn)
			if !ok {
				return errors.New("go-plugin gave no connection")
			}
			res.conn = conn
			return nil
		})
		got <- res
	}()
	select {
	case res := <-got:
		return res.conn, res.err
	case <-ctx.Done():
	}
	// The process may be stopped or silent; without it the call returns.
	g.runner.end()
	select {
	case res := <-got:
		if res.conn != nil {
			res.conn.Close()
		}
		if res.err != nil && !errors.Is(res.err, context.Canceled) {
			return nil, fmt.Errorf("%w (%w)", ctx.Err(), res.err)
		}
	case <-time.After(killWait):
	}
	return nil, ctx.Err()
}

// kill has go-plugin ask the process to end (the controller's Shutdown), wait
// for 2 s and kill it. It blocks for as long as the process does, so it runs in
// a goroutine of its own; the channel is closed at its end.
func (g *goPlugin) kill() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = guarded(func() error {
			g.client.Kill()
			return nil
		})
	}()
	return done
}

// guarded turns a panic of go-plugin into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("go-plugin panicked: %v", r)
		}
	}()
	return f()
}

func refuseBroker(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if method == brokerMethod {
		return nil, status.Error(codes.Unimplemented, "the broker is not used")
	}
	return streamer(ctx, desc, cc, method, opts...)
}

// connEntry is the one entry of the plugin set: it gives the connection.
type connEntry struct{ plugin.NetRPCUnsupportedPlugin }

func (connEntry) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this is the host's side")
}

func (connEntry) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
