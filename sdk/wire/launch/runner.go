package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	gprunner "github.com/hashicorp/go-plugin/runner"

	"github.com/cairn-stack/cairn/sdk/wire"
)

// runner is go-plugin's view of a process. By the time that Start returns, the
// process has shaken hands, and all that go-plugin ever reads of it is one line
// that was written here.
type runner struct {
	options      Options
	limit        context.Context
	handshakeEnv []string

	mu    sync.Mutex
	child *child
	host  net.Conn
	line  string
}

var _ gprunner.Runner = (*runner)(nil)

func newRunner(limit context.Context, o Options) *runner { return &runner{options: o, limit: limit} }

// Start starts the process and reads its handshake.
func (r *runner) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.limit, cancel)()
	hostEnd, pluginEnd, err := socketPair()
	if err != nil {
		return fmt.Errorf("make the channel: %w", err)
	}
	defer pluginEnd.Close()
	conn, err := net.FileConn(hostEnd)
	hostEnd.Close()
	if err != nil {
		return fmt.Errorf("make the channel: %w", err)
	}
	c, err := startChild(r.options, r.environment(), pluginEnd)
	if err != nil {
		conn.Close()
		return err
	}
	r.mu.Lock()
	r.child, r.host = c, conn
	r.mu.Unlock()
	h, err := c.handshake(ctx, r.options.Dir)
	if err != nil {
		conn.Close()
		return err
	}
	r.line = h.String()
	return nil
}

// environment is the plugin's whole environment.
func (r *runner) environment() []string {
	env := append([]string{}, r.options.Env...)
	env = append(env, r.handshakeEnv...)
	env = append(env, wire.EnvChannelFD+"="+strconv.Itoa(channelFD))
	if r.options.LogLevel != "" {
		env = append(env, wire.EnvLogLevel+"="+r.options.LogLevel)
	}
	return env
}

func (r *runner) process() *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.child
}

// dial gives the inherited channel, once: it cannot be opened again.
func (r *runner) dial(context.Context, string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.host == nil {
		return nil, errors.New("the channel to the plugin has ended")
	}
	conn := r.host
	r.host = nil
	return conn, nil
}

// closeHost closes the channel where nobody has dialed it.
func (r *runner) closeHost() {
	if conn, err := r.dial(context.Background(), ""); err == nil {
		conn.Close()
	}
}

// end kills the process, if there is one.
func (r *runner) end() {
	if c := r.process(); c != nil {
		c.kill()
	}
}

// detail is where the plugin stands and what it wrote.
func (r *runner) detail(o Options) string {
	c := r.process()
	if c == nil {
		return o.Path
	}
	return linesDetail(o.Path, c.log.last())
}

func (r *runner) Stdout() io.ReadCloser {
	return io.NopCloser(strings.NewReader(r.line + "\n"))
}

func (r *runner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

func (r *runner) Wait(context.Context) error {
	if c := r.process(); c != nil {
		<-c.done
	}
	return nil
}

func (r *runner) Kill(context.Context) error {
	r.end()
	return nil
}

func (r *runner) ID() string {
	if c := r.process(); c != nil {
		return strconv.Itoa(c.pid)
	}
	return ""
}

func (r *runner) Name() string                    { return r.options.Path }
func (r *runner) Diagnose(context.Context) string { return "" }

func (r *runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// verifyError is what Options.Verify said.
type verifyError struct{ err error }

func (e *verifyError) Error() string { return e.err.Error() }
func (e *verifyError) Unwrap() error { return e.err }

// openVerified opens the executable and has it verified.
func openVerified(o Options) error {
	if o.Verify == nil {
		return nil
	}
	f, err := os.Open(o.Path)
	if err != nil {
		return &execError{err}
	}
	defer f.Close()
	if err := o.Verify(f); err != nil {
		return &verifyError{err}
	}
	return nil
}
