package wire

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"
)

// What a host and a plugin must agree on before the first call.
const (
	// CookieKey and CookieValue are go-plugin's magic cookie. They tell a plugin
	// that a host started it; they protect nothing.
	CookieKey   = "CAIRN_PLUGIN_COOKIE"
	CookieValue = "8d1f5e0c2b7a4963a4f6d3b1c0e98752"
	// ProtocolVersion is go-plugin's application version: it covers handshake and
	// common service only. Component types have majors of their own.
	ProtocolVersion = 1
	// PluginSetName is the one entry of go-plugin's plugin set.
	PluginSetName = "cairn"
	// BinaryPrefix begins the name of every plugin's executable.
	BinaryPrefix = "cairn-plugin-"

	// EnvChannelFD names the descriptor of the inherited channel: one end of a
	// connected stream socket, on which the plugin serves gRPC and nothing else.
	// Its end of file is the death of the host. A plugin reads the variable,
	// unsets it and sets close-on-exec on the descriptor before anything else.
	EnvChannelFD = "CAIRN_CHANNEL_FD"
	// EnvLogLevel is the level at which a plugin begins to log: trace, debug,
	// info, warn or error.
	EnvLogLevel = "CAIRN_PLUGIN_LOG_LEVEL"
	// EnvSocketDir is go-plugin's variable for the private directory in which a
	// plugin without an inherited channel makes its socket.
	EnvSocketDir = "PLUGIN_UNIX_SOCKET_DIR"

	// HealthService is the name under which a plugin reports SERVING to
	// grpc.health.v1, as go-plugin has it.
	HealthService = "plugin"
	// InheritedAddress may stand for the address in the handshake line of a
	// plugin that serves on the inherited channel alone.
	InheritedAddress = "inherited"
)

// Limits of what crosses the wire, in bytes or counts; both sides hold them.
const (
	MaxHandshakeLine = 4 << 10
	MaxMessage       = 16 << 20
	MaxError         = 3 << 10
	MaxKey           = 512
	MaxBatch         = 1000
	MaxPutBytes      = 1 << 20
	MaxChunk         = 256 << 10
	MaxSchema        = 1 << 20
	MaxDiagnostics   = 1000
	MaxFacts         = 64 << 10
	MaxProbe         = 4 << 10
)

// Handshake is the first line that a plugin writes to its standard output:
//
//	CORE|PROTOCOL|NETWORK|ADDRESS|grpc[|[|MULTIPLEX]]
//
// It is go-plugin's line, at most MaxHandshakeLine bytes of printable ASCII and
// 5 to 7 fields. CORE is 1, PROTOCOL is ProtocolVersion. The sixth field, for a
// certificate, is empty: a channel on one machine has no TLS.
//
// With the inherited channel (EnvChannelFD is set) NETWORK is "unix", and
// ADDRESS is InheritedAddress or whatever socket go-plugin's Serve made below
// EnvSocketDir: the host dials neither, and the plugin's server refuses every
// connection but the inherited one. So a plugin in Go lets go-plugin print the
// line, and a plugin in another language prints "1|1|unix|inherited|grpc".
type Handshake struct {
	Core     int
	Protocol int
	Network  string
	Address  string
}

// ParseHandshake reads a handshake line, without its line break.
func ParseHandshake(line string) (Handshake, error) {
	var h Handshake
	if len(line) > MaxHandshakeLine {
		return h, fmt.Errorf("the line has more than %d bytes", MaxHandshakeLine)
	}
	for _, c := range []byte(line) {
		if c < 0x20 || c > 0x7e {
			return h, fmt.Errorf("the line has characters that are not printable ASCII")
		}
	}
	fields := strings.Split(line, "|")
	if len(fields) < 5 || len(fields) > 7 {
		return h, fmt.Errorf("the line has %d fields where 5 to 7 are expected", len(fields))
	}
	var err error
	if h.Core, err = strconv.Atoi(fields[0]); err != nil {
		return h, fmt.Errorf("the first field is not a number")
	}
	if h.Protocol, err = strconv.Atoi(fields[1]); err != nil {
		return h, fmt.Errorf("the second field is not a number")
	}
	h.Network, h.Address = fields[2], fields[3]
	if h.Network != "unix" {
		return h, fmt.Errorf("the network is %q, not unix", h.Network)
	}
	if h.Address == "" {
		return h, fmt.Errorf("the address is empty")
	}
	if fields[4] != "grpc" {
		return h, fmt.Errorf("the protocol is %q, not grpc", fields[4])
	}
	if len(fields) > 5 && fields[5] != "" {
		return h, fmt.Errorf("the line has a certificate, and the channel no TLS")
	}
	return h, nil
}

// String is the line as a host writes it, without a line break.
func (h Handshake) String() string {
	return fmt.Sprintf("%d|%d|%s|%s|grpc", h.Core, h.Protocol, h.Network, h.Address)
}

// DialOptions are what a host's connection to a plugin needs beside its dialer.
// An idle connection is never closed, since an inherited channel cannot be
// opened again.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(MaxMessage),
			grpc.MaxCallSendMsgSize(MaxMessage),
		),
	}
}

// ServerOptions are what a plugin's gRPC server needs.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
	}
}
