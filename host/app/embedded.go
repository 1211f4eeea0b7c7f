package app

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// hostLine is the one line that the host process writes: where it serves, or
// why it cannot.
type hostLine struct {
	Address  string     `json:"address,omitempty"`
	Version  string     `json:"version,omitempty"`
	APIMajor int        `json:"api_major,omitempty"`
	Error    *hostError `json:"error,omitempty"`
}

type hostError struct {
	Code     diag.Code `json:"code"`
	Summary  string    `json:"summary"`
	Detail   string    `json:"detail,omitempty"`
	Hint     string    `json:"hint,omitempty"`
	Findings diag.List `json:"findings,omitempty"`
}

// RunEmbedded is the process "cairn host --embedded": a host beside one pipeline
// program, which holds the other end of standard input. It serves the host API
// on a Unix socket, says where on standard output, and ends, within 2 s, when
// standard input does: the program is gone then. It gives the exit code.
func RunEmbedded(args []string) int {
	// The terminal's signals are for the program, whose end is the host's.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	if err := runEmbedded(args, os.Stdin, os.Stdout); err != nil {
		e := api.AsError(err)
		line, _ := json.Marshal(hostLine{Error: &hostError{
			Code: e.Code, Summary: e.Summary, Detail: e.Detail, Hint: e.Hint, Findings: e.Findings,
		}})
		fmt.Println(string(line))
		return e.Code.ExitCode()
	}
	return 0
}

func runEmbedded(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("host", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	embedded := flags.Bool("embedded", false, "")
	withTee := flags.Bool("tee", false, "")
	if err := flags.Parse(args); err != nil || !*embedded || flags.NArg() > 0 {
		return diag.Errorf(diag.Invalid, "'cairn host' is started by pipeline programs, as 'cairn host --embedded'").
			WithHint("start the program itself: go run . or python run.py")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	h, err := Open(ctx, Options{})
	if err != nil {
		return err
	}
	if err := h.guarded(ctx); err != nil {
		return errors.Join(err, h.Close())
	}
	// The plugins start while the rest of the host and the program do.
	h.openAhead(ctx)
	server, err := h.listen(ctx)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	var t *tee
	if *withTee {
		t = newTee(h)
	}
	line, err := json.Marshal(hostLine{Address: "unix://" + h.socket, Version: Version, APIMajor: APIMajor})
	if err == nil {
		_, err = stdout.Write(append(line, '\n'))
	}
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
		<-ctx.Done()
	}
	left := h.letGo()
	if t != nil {
		t.wait(shutdown / 2)
		t.say(h.farewell(left))
	}
	_ = server.Close()
	if cerr := h.Close(); cerr != nil {
		h.log.Warn("the host did not end cleanly", "error", cerr)
	}
	return err
}

// guarded opens the home and makes the runtime directory of this host, with the
// guard that removes it however the host ends.
func (h *Host) guarded(ctx context.Context) error {
	h.mu.Lock()
	_, err := h.writable(ctx)
	h.mu.Unlock()
	if err != nil {
		return err
	}
	m, err := h.plugins(ctx)
	if err != nil {
		return err
	}
	return m.Prepare(ctx)
}

// listen makes this process a host, opens its socket in the runtime directory
// and serves the API on it. It is called after guarded.
func (h *Host) listen(ctx context.Context) (*http.Server, error) {
	socket := filepath.Join(h.runtimeDir(), "host.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("open the host's socket: %w", err)
	}
	// Its directory keeps others out; the socket does by itself too.
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the host's socket to others: %w", err), l.Close())
	}
	// The lock is held for this alone: the plugins are being opened meanwhile.
	h.mu.Lock()
	h.socket = socket
	err = h.register(ctx)
	h.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: api.Handler(h), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("the host stopped serving", "error", err)
		}
	}()
	return server, nil
}

// openAhead starts the plugins of the stack that the program will most
// likely ask for, while it still traces its pipeline: the process inherited its
// directory and environment. A wrong guess costs a plugin process; what is wrong
// with the stack is told when it is asked for.
func (h *Host) openAhead(ctx context.Context) {
	h.mu.Lock()
	o, err := h.writable(ctx)
	st := h.openStacks()
	h.mu.Unlock()
	if err != nil {
		return
	}
	go func() {
		client := model.Client{StackEnv: os.Getenv("CAIRN_STACK")}
		if dir, err := os.Getwd(); err == nil {
			if client.Project, err = o.server.Home.FindProject(dir); err != nil {
				return
			}
		}
		_, stack, err := o.server.Registry.Active(ctx, client)
		if err != nil {
			return
		}
		snapshot, err := o.server.Registry.Snapshot(ctx, stack)
		if err == nil {
			st.openAhead(snapshot)
		}
	}()
}

// letGo ends the engine's work on every run after the program is gone: results
// that stand are adopted, other attempts are lost, and the runs can be resumed.
// It gives the ids of the runs.
func (h *Host) letGo() []string {
	h.mu.Lock()
	eng := h.engine
	h.mu.Unlock()
	if eng == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	ids := eng.Active()
	for _, id := range ids {
		if err := eng.Interrupt(ctx, id); err != nil {
			h.log.Warn("a run was let go of uncleanly", "run", id, "error", err)
		}
	}
	return ids
}

// farewell says, of runs that were let go of, which steps were lost and how to
// go on: the program cannot say it any more.
func (h *Host) farewell(ids []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	var b strings.Builder
	for _, id := range ids {
		rec, err := h.writing.store.LoadRun(ctx, id)
		if err != nil || rec.Run.State.Final() {
			continue
		}
		var lost []string
		for _, s := range rec.Steps {
			if s.State == model.StepRunning {
				lost = append(lost, "'"+s.Name+"'")
			}
		}
		during := ""
		if len(lost) > 0 {
			during = " during step " + strings.Join(lost, ", ")
		}
		fmt.Fprintf(&b, "error: the program ended%s; run %s is interrupted\nhint: go on with: cairn run resume %s\n",
			during, rec.Run.Name, rec.Run.Name)
	}
	return b.String()
}
