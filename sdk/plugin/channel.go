package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/cairn-stack/cairn/sdk/wire"
	"google.golang.org/grpc/credentials"
)

// channel is the inherited connection to the host, as a listener that accepts it
// once.
type channel struct {
	conn  chan net.Conn
	addr  net.Addr
	onEnd func()

	closeOnce sync.Once
	closed    chan struct{}
}

// inheritChannel takes over the descriptor that the host named, so that no child
// of this process inherits it.
func inheritChannel() (*channel, error) {
	text := os.Getenv(wire.EnvChannelFD)
	if text == "" {
		return nil, fmt.Errorf("%s is not set", wire.EnvChannelFD)
	}
	if err := os.Unsetenv(wire.EnvChannelFD); err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, not the number of a descriptor", wire.EnvChannelFD, text)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "channel")
	defer f.Close() // net.FileConn makes a descriptor of its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the descriptor %d: %w", fd, err)
	}
	c := &channel{conn: make(chan net.Conn, 1), addr: conn.LocalAddr(), closed: make(chan struct{})}
	c.conn <- &inherited{Conn: conn, channel: c}
	return c, nil
}

// Accept gives the connection, and from then on waits for Close.
func (c *channel) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conn:
		return conn, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (c *channel) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return nil
}

// Addr is the connection's.
func (c *channel) Addr() net.Addr { return c.addr }

// inherited is the connection to the host.
type inherited struct {
	net.Conn
	channel *channel
	once    sync.Once
}

// Read reads; where the host is gone, it starts the end of the process. A close
// from this side is the end that the host asked for, which Serve sees to.
func (c *inherited) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.once.Do(func() { go c.channel.onEnd() })
	}
	return n, err
}

// inheritedOnly refuses every connection but the inherited one: go-plugin's own
// listener is of no use to anybody.
type inheritedOnly struct{}

// ServerHandshake lets the inherited connection pass.
func (inheritedOnly) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := conn.(*inherited); !ok {
		conn.Close()
		return nil, nil, errors.New("only the inherited channel is served")
	}
	return conn, channelInfo{}, nil
}

// ClientHandshake is the other side's.
func (inheritedOnly) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("this is the plugin's side")
}

// Info names the protocol.
func (inheritedOnly) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "inherited"}
}

// Clone gives a copy.
func (inheritedOnly) Clone() credentials.TransportCredentials { return inheritedOnly{} }

// OverrideServerName is of no use here.
func (inheritedOnly) OverrideServerName(string) error { return nil }

// channelInfo says that nobody else can read the connection.
type channelInfo struct{ credentials.CommonAuthInfo }

// AuthType names the channel.
func (channelInfo) AuthType() string { return "inherited" }

// killOwnGroup kills the children that are left, and this process with them,
// where it leads a group of its own, as a host starts it.
func killOwnGroup() {
	if pid := os.Getpid(); syscall.Getpgrp() == pid {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}
