package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/sdk/wire"
)

// handshakeError is a first line that is none, or that does not fit.
type handshakeError struct {
	// exited: the output ended before a line did.
	exited bool
	// line is what was written, where it was something.
	line string
	why  string
	// version that the plugin speaks, where it is another one.
	version int
}

func (e *handshakeError) Error() string { return "handshake: " + e.why }

func (e *handshakeError) summary(o Options) string {
	switch {
	case e.version != 0:
		return fmt.Sprintf("plugin %s speaks version %d of the plugin protocol, and this cairn speaks version %d", o.Name, e.version, wire.ProtocolVersion)
	case e.exited:
		return fmt.Sprintf("plugin %s closed its output before its handshake", o.Name)
	case e.line == "":
		return fmt.Sprintf("plugin %s wrote no handshake within %s", o.Name, o.StartTimeout)
	}
	return fmt.Sprintf("plugin %s wrote %q where its handshake is expected: %s", o.Name, e.line, e.why)
}

func (e *handshakeError) hint(o Options) string {
	switch {
	case e.version > wire.ProtocolVersion:
		return "upgrade cairn, or install an older version of the plugin"
	case e.version != 0:
		return "install a newer version of the plugin"
	}
	return fmt.Sprintf("see that %s is a cairn plugin: it must be built with sdk/plugin and write nothing before it serves", o.Path)
}

// handshake reads and checks the first line of the standard output, then leaves
// the rest of it to a drain.
func (c *child) handshake(ctx context.Context, dir string) (wire.Handshake, error) {
	type result struct {
		line []byte
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := readLine(c.stdout, wire.MaxHandshakeLine)
		got <- result{line, err}
		c.drain()
	}()
	var res result
	select {
	case res = <-got:
	case <-ctx.Done():
		c.kill()
		return wire.Handshake{}, &handshakeError{why: "no line in time"}
	}
	line := strings.TrimSuffix(string(res.line), "\r")
	bad := &handshakeError{line: shorten(line)}
	switch {
	case errors.Is(res.err, io.EOF) && line == "":
		bad.exited, bad.why = true, "the output ended"
		return wire.Handshake{}, bad
	case errors.Is(res.err, errLongLine):
		bad.why = fmt.Sprintf("its first line has more than %d bytes", wire.MaxHandshakeLine)
		return wire.Handshake{}, bad
	}
	h, err := wire.ParseHandshake(line)
	if err != nil {
		bad.why = err.Error()
		return wire.Handshake{}, bad
	}
	switch {
	case h.Core != 1:
		bad.why = fmt.Sprintf("version %d of go-plugin's own protocol is unknown", h.Core)
		return wire.Handshake{}, bad
	case h.Protocol != wire.ProtocolVersion:
		bad.version = h.Protocol
		return wire.Handshake{}, bad
	case h.Address != wire.InheritedAddress && !below(h.Address, dir):
		bad.why = "its address lies outside the directory that it was given"
		return wire.Handshake{}, bad
	}
	// go-plugin gets an address of ours; nobody dials it.
	return wire.Handshake{Core: 1, Protocol: wire.ProtocolVersion, Network: "unix", Address: wire.InheritedAddress}, nil
}

var errLongLine = errors.New("line too long")

// readLine reads up to a line break, not beyond it by more than a buffer, and
// gives what stands before it.
func readLine(r io.Reader, limit int) ([]byte, error) {
	var line []byte
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			line = append(line, buf[:i]...)
			if len(line) > limit {
				return line[:limit], errLongLine
			}
			return line, nil
		}
		line = append(line, buf[:n]...)
		if len(line) > limit {
			return line[:limit], errLongLine
		}
		if err != nil {
			return line, io.EOF
		}
	}
}

// below reports whether path is a clean path in dir.
func below(path, dir string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path &&
		strings.HasPrefix(path, filepath.Clean(dir)+string(filepath.Separator))
}

// shorten makes a line of a stranger fit for a message.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
