package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// shutDownLimit is how long flavors may take to give back what they hold when
// the process ends.
const shutDownLimit = time.Second

// Serve serves flavors to the host that started this process, and ends with it.
// It is the last call of a plugin's main. Started by hand it says what the binary
// is, and exits with code 2.
func Serve(info Info, flavors ...Flavor) {
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		explain(os.Stderr, info, flavors)
		os.Exit(2)
	}
	log := newLogger(info)
	channel, err := inheritChannel()
	if err != nil {
		log.Error("this plugin is reached by an inherited channel alone", "error", err)
		os.Exit(2)
	}
	s := newServer(info, flavors, log)
	// Either the host asks for the end, or the channel's end is its death.
	var end sync.Once
	channel.onEnd = func() {
		end.Do(func() {
			s.shutDown(shutDownLimit)
			killOwnGroup()
			os.Exit(0)
		})
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: wire.ProtocolVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		Plugins: goplugin.PluginSet{wire.PluginSetName: &entry{server: s, channel: channel}},
		Logger:  log.Named("go-plugin"),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return newGRPCServer(log, append(opts, grpc.Creds(inheritedOnly{}))...)
		},
	})
	end.Do(func() { s.shutDown(shutDownLimit) })
}

// explain is for a person who started a plugin by hand.
func explain(w io.Writer, info Info, flavors []Flavor) {
	var names []string
	for _, f := range flavors {
		names = append(names, fmt.Sprintf("%s %q", strings.ReplaceAll(f.componentType, "-", " "), f.name))
	}
	path, err := os.Executable()
	if err != nil {
		path = wire.BinaryPrefix + info.Name
	}
	fmt.Fprintf(w, "This is the cairn plugin %s, version %s: %s.\n", info.Name, info.Version, strings.Join(names, ", "))
	fmt.Fprintf(w, "cairn starts it when it needs it; by itself it does nothing. To let cairn use it:\n\n")
	fmt.Fprintf(w, "    cairn plugin approve %s\n", path)
}

func newLogger(info Info) hclog.Logger {
	level := hclog.LevelFromString(os.Getenv(wire.EnvLogLevel))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Name: info.Name, Level: level, Output: os.Stderr, JSONFormat: true})
}

// newGRPCServer is a server in which a panic ends a call, not the process.
func newGRPCServer(log hclog.Logger, opts ...grpc.ServerOption) *grpc.Server {
	opts = append(opts, wire.ServerOptions()...)
	opts = append(opts,
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (res any, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = wire.ToStatus(panicked(log, info.FullMethod, p))
				}
			}()
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = wire.ToStatus(panicked(log, info.FullMethod, p))
				}
			}()
			return next(srv, ss)
		}),
	)
	return grpc.NewServer(opts...)
}

// entry is the one entry of go-plugin's plugin set.
type entry struct {
	goplugin.NetRPCUnsupportedPlugin
	server  *server
	channel *channel
}

// GRPCServer is called when go-plugin has put its own services on the server:
// now ours, and the channel is served.
func (e *entry) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	e.server.register(s)
	go func() {
		// It ends with the channel, which has its own way to say so.
		_ = s.Serve(e.channel)
	}()
	return nil
}

// GRPCClient is the host's side.
func (*entry) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("this is the plugin's side")
}
