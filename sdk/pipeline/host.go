package pipeline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// apiMajor is the major of the host API that this package speaks.
const apiMajor = 1

// hostStart bounds how long a host may take until it serves.
const hostStart = 30 * time.Second

// findCairn finds the cairn executable: CAIRN_BIN, PATH, then bin/cairn from
// the working directory upward to the root of the Go module.
func findCairn(lookup func(string) (string, bool), dir string) (string, error) {
	if path, ok := lookup("CAIRN_BIN"); ok && path != "" {
		if !isExecutable(path) {
			return "", diag.Errorf(diag.NotFound, "CAIRN_BIN names %s, which is not an executable file", path).
				WithHint("set it to the cairn executable, or unset it")
		}
		return path, nil
	}
	paths, _ := lookup("PATH")
	for _, d := range filepath.SplitList(paths) {
		if path := filepath.Join(d, "cairn"); filepath.IsAbs(d) && isExecutable(path) {
			return path, nil
		}
	}
	for d := dir; ; d = filepath.Dir(d) {
		if path := filepath.Join(d, "bin", "cairn"); isExecutable(path) {
			return path, nil
		}
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil || d == filepath.Dir(d) {
			break
		}
	}
	return "", diag.Errorf(diag.NotFound, "cairn was not found").
		WithDetail("it is neither in PATH nor at bin/cairn in this folder or above, up to the root of the Go module").
		WithHint("install it, or set CAIRN_BIN to the executable; in cairn's own repository: make build")
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// hostProcess is a cairn host that serves this program, and no other.
type hostProcess struct {
	cmd     *exec.Cmd
	program *os.File // held open while the program lives
	stderr  *os.File // a file without a name
	socket  string
	version string
	exited  chan struct{}
}

// hostLine is the one line that a host writes when it serves, or cannot.
type hostLine struct {
	Address  string `json:"address"`
	Version  string `json:"version"`
	APIMajor int    `json:"api_major"`
	Error    *struct {
		Code    diag.Code `json:"code"`
		Summary string    `json:"summary"`
		Detail  string    `json:"detail"`
		Hint    string    `json:"hint"`

		Findings diag.List `json:"findings"`
	} `json:"error"`
}

// startHost starts a host beside the program, in a session of its own, so that
// signals of the terminal reach only the program. The host learns of the
// program's end by the end of its standard input.
func startHost(ctx context.Context, cairn string, env []string, t *tee) (*hostProcess, error) {
	stdin, program, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the cairn host: %w", err)
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		program.Close()
		return nil, fmt.Errorf("make a pipe for the cairn host: %w", err)
	}
	defer stdout.Close()
	stderr, err := namelessFile()
	if err != nil {
		program.Close()
		out.Close()
		return nil, err
	}
	h := &hostProcess{program: program, stderr: stderr, exited: make(chan struct{})}
	h.cmd = &exec.Cmd{
		Path: cairn, Args: []string{cairn, "host", "--embedded"}, Env: env,
		Stdin: stdin, Stdout: stdout, Stderr: stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if t != nil {
		h.cmd.Args = append(h.cmd.Args, "--tee")
		h.cmd.ExtraFiles = t.files()
	}
	if err := h.cmd.Start(); err != nil {
		program.Close()
		out.Close()
		stderr.Close()
		return nil, diag.Errorf(diag.Internal, "start %s: %w", cairn, err)
	}
	go func() { _ = h.cmd.Wait(); close(h.exited) }()
	stdout.Close()
	if err := h.await(ctx, out); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// namelessFile is a file for what a host writes besides its log: a pipe would
// kill a host that outlives the program.
func namelessFile() (*os.File, error) {
	f, err := os.CreateTemp("", "cairn-host-*.log")
	if err != nil {
		return nil, fmt.Errorf("make a file for the cairn host's messages: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink the file of the cairn host's messages: %w", err)
	}
	return f, nil
}

// await reads the host's line.
func (h *hostProcess) await(ctx context.Context, out *os.File) error {
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadBytes('\n')
		got <- answer{line, err}
	}()
	timeout := time.NewTimer(hostStart)
	defer timeout.Stop()
	select {
	case a := <-got:
		if a.err != nil && len(a.line) == 0 {
			<-h.exited
			return diag.Errorf(diag.Internal, "the cairn host ended before it served (%s)", h.cmd.ProcessState).
				WithDetail("%s", h.messages()).WithHint("'%s version' must print a version; 'cairn status' says where the home is", h.cmd.Path)
		}
		return h.understand(a.line)
	case <-timeout.C:
		return diag.Errorf(diag.Internal, "the cairn host did not serve within %s", hostStart).WithDetail("%s", h.messages())
	case <-ctx.Done():
		return diag.Errorf(diag.Cancelled, "cancelled before the run began")
	}
}

func (h *hostProcess) understand(line []byte) error {
	var l hostLine
	if err := json.Unmarshal(line, &l); err != nil {
		return diag.Errorf(diag.Internal, "%s is not cairn, or of another version: it said %q", h.cmd.Path, oneLine(string(line))).
			WithHint("set CAIRN_BIN to the right executable")
	}
	if l.Error != nil {
		return &diag.Error{Code: l.Error.Code, Summary: l.Error.Summary, Detail: l.Error.Detail, Hint: l.Error.Hint, Findings: l.Error.Findings}
	}
	if l.APIMajor != apiMajor {
		return diag.Errorf(diag.Invalid, "this program speaks version %d of cairn's host API, and %s (cairn %s) speaks version %d", apiMajor, h.cmd.Path, l.Version, l.APIMajor).
			WithHint("bring both to the same release: update the module github.com/cairn-stack/cairn, or the cairn executable")
	}
	socket, ok := strings.CutPrefix(l.Address, "unix://")
	if !ok || !filepath.IsAbs(socket) {
		return diag.Errorf(diag.Internal, "the cairn host gave an address that is not a Unix socket: %q", l.Address)
	}
	h.socket, h.version = socket, l.Version
	return nil
}

// messages is the end of what the host wrote besides its log.
func (h *hostProcess) messages() string {
	const most = 2 << 10
	info, err := h.stderr.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-most)
	data, err := io.ReadAll(io.NewSectionReader(h.stderr, from, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// gone reports whether the host has ended.
func (h *hostProcess) gone() bool {
	select {
	case <-h.exited:
		return true
	default:
		return false
	}
}

// close tells the host that the program is done with it.
func (h *hostProcess) close() {
	_ = h.program.Close()
}

// wait waits until the host has ended, at most for a time.
func (h *hostProcess) wait(atMost time.Duration) error {
	select {
	case <-h.exited:
		return nil
	case <-time.After(atMost):
		return errors.New("the cairn host goes on after the run")
	}
}
