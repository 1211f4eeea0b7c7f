// Command cairn looks after stacks, runs and artifacts: it parses what was
// typed, asks the host API, and prints. By hidden verbs it is also the host
// beside a pipeline program, and the guard of a host's plugins.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/app"
	"github.com/cairn-stack/cairn/host/pluginhost/guard"
)

// hostVerb starts the host beside a pipeline program.
const hostVerb = "host"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out a command line and gives the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case guard.Verb:
			return guard.Main(args[1:])
		case hostVerb:
			return app.RunEmbedded(args[1:])
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends cairn at once.
	context.AfterFunc(ctx, stop)
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now, open: openHost}
	return c.execute(ctx, args)
}

// openHost makes a host in this process.
func openHost(ctx context.Context) (api.Service, func() error, error) {
	h, err := app.Open(ctx, app.Options{})
	if err != nil {
		return nil, nil, err
	}
	return h, h.Close, nil
}
