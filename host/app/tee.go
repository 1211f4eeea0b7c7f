package app

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The descriptors that a host with --tee is started with: read ends of the
// program's standard output and error, and the real ones.
const (
	teeOutFrom, teeErrFrom = 3, 4
	teeOutTo, teeErrTo     = 5, 6
)

// maxEarly bounds what is kept of a program's output before it has a run, in
// bytes. It is printed whole; only its end reaches the run's log.
const maxEarly = 1 << 20

// tee passes on what the program prints, and writes it to the log of its run.
type tee struct {
	streams sync.WaitGroup
	done    chan struct{}

	// terminal is the program's real standard error.
	terminal *os.File

	mu    sync.Mutex
	early []byte
	log   *os.File
}

// newTee begins to copy; the log begins when the host starts a run.
func newTee(h *Host) *tee {
	t := &tee{done: make(chan struct{})}
	h.onRun(func(runID string) { t.begin(h.home.RunLog(runID)) })
	for from, to := range map[uintptr]uintptr{teeOutFrom: teeOutTo, teeErrFrom: teeErrTo} {
		in, out := os.NewFile(from, "program"), os.NewFile(to, "terminal")
		if to == teeErrTo {
			t.terminal = out
		}
		t.streams.Go(func() { t.copy(in, out) })
	}
	go func() {
		t.streams.Wait()
		close(t.done)
	}()
	return t
}

// copy goes on reading when the terminal is gone, or the program would block.
func (t *tee) copy(in io.ReadCloser, out io.Writer) {
	defer in.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			_, _ = out.Write(buf[:n])
			t.keep(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// keep writes to the log, or keeps the end of what came before there is one.
func (t *tee) keep(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		_, _ = t.log.Write(p)
		return
	}
	t.early = append(t.early, p...)
	if over := len(t.early) - maxEarly; over > 0 {
		t.early = append(t.early[:0], t.early[over:]...)
	}
}

// begin opens the log of the run.
func (t *tee) begin(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		return
	}
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	f, ferr := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if errors.Join(err, ferr) != nil {
		return
	}
	_, _ = f.Write(t.early)
	t.log, t.early = f, nil
}

// wait waits until all output has been passed on, at most for a time: a process
// that the program left behind may hold its end open.
func (t *tee) wait(atMost time.Duration) {
	select {
	case <-t.done:
	case <-time.After(atMost):
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.log != nil {
		_ = t.log.Close()
		t.log = nil
	}
}

// say writes to the terminal what the program cannot say any more.
func (t *tee) say(text string) {
	if text != "" {
		_, _ = t.terminal.WriteString(text)
	}
}
