package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// opener brings up a host for one invocation; the function ends it.
type opener func(ctx context.Context) (api.Service, func() error, error)

// cli is one invocation of cairn: where it reads and writes, its global flags,
// and the host that it asks, which is opened at the first need.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	open           opener
	now            func() time.Time

	format  format
	quiet   bool
	noColor bool
	yes     bool
	stack   string

	svc       api.Service
	closeHost func() error
}

// host is the host API; the first call opens it.
func (c *cli) host(ctx context.Context) (api.Service, error) {
	if c.svc != nil {
		return c.svc, nil
	}
	svc, closeHost, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	c.svc, c.closeHost = svc, closeHost
	return svc, nil
}

// close ends the host, where one was opened.
func (c *cli) close() {
	if c.closeHost != nil {
		// What was asked for is done; the exit code stays that.
		if err := c.closeHost(); err != nil {
			c.note("Warning: the host did not end well: %v", err)
		}
	}
	c.svc, c.closeHost = nil, nil
}

// context is what the host cannot see by itself.
func (c *cli) context() *apiv1.ClientContext {
	dir, err := os.Getwd()
	if err != nil {
		dir = "" // a working directory that was deleted has no project
	}
	return &apiv1.ClientContext{WorkingDir: dir, Stack: c.stack, StackEnv: os.Getenv("CAIRN_STACK")}
}
