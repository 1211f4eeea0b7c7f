package app

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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

	// turns are held while output that was read is passed on.
	turns [2]sync.Mutex
	from  [2]*os.File

	mu    sync.Mutex
	early []byte
	log   *os.File
	// steps are the logs of the attempts that run, by attempt.
	steps map[string]string
}

// newTee begins to copy; the log begins when the host starts a run.
func newTee(h *Host) *tee {
	t := &tee{done: make(chan struct{}), steps: map[string]string{}}
	h.onRun(func(runID string) { t.begin(h.home.RunLog(runID)) })
	h.mu.Lock()
	h.tee = t
	h.mu.Unlock()
	t.from = [2]*os.File{os.NewFile(teeOutFrom, "program"), os.NewFile(teeErrFrom, "program")}
	t.terminal = os.NewFile(teeErrTo, "terminal")
	for i, out := range []*os.File{os.NewFile(teeOutTo, "terminal"), t.terminal} {
		t.streams.Go(func() { t.copy(i, out) })
	}
	go func() {
		t.streams.Wait()
		close(t.done)
	}()
	return t
}

// copy goes on reading when the terminal is gone, or the program would block.
func (t *tee) copy(i int, out io.Writer) {
	buf := make([]byte, 32<<10)
	for err := error(nil); err == nil; {
		readable(t.from[i], -1)
		err = t.pass(i, out, buf)
	}
}

// pass passes on what there is to read now.
func (t *tee) pass(i int, out io.Writer, buf []byte) error {
	t.turns[i].Lock()
	defer t.turns[i].Unlock()
	n, err := t.from[i].Read(buf)
	if n > 0 {
		_, _ = out.Write(buf[:n])
		t.keep(buf[:n])
	}
	return err
}

// readable waits until there is something to read, or the end, at most for so
// many milliseconds; -1 is without limit.
func readable(f *os.File, millis int) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, millis)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
		}
	}
}

// started says that an attempt runs, whose log is at a path.
func (t *tee) started(attempt, log string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps[attempt] = log
}

// holds ends those attempts that the program does not hold any more.
func (t *tee) holds(attempts []string) {
	t.mu.Lock()
	var over []string
	for attempt := range t.steps {
		if !slices.Contains(attempts, attempt) {
			over = append(over, attempt)
		}
	}
	t.mu.Unlock()
	for _, attempt := range over {
		t.ended(attempt)
	}
}

// drainTime bounds the wait for a terminal that takes nothing.
const drainTime = 50 * time.Millisecond

// ended says that an attempt runs no more. What it printed before is passed on
// first, so that it is not taken for the next one's.
func (t *tee) ended(attempt string) {
	t.mu.Lock()
	_, known := t.steps[attempt]
	t.mu.Unlock()
	if !known {
		return
	}
	for until := time.Now().Add(drainTime); !t.idle() && time.Now().Before(until); {
		<-time.After(100 * time.Microsecond)
	}
	t.mu.Lock()
	delete(t.steps, attempt)
	t.mu.Unlock()
}

// idle reports whether all that the program has printed was passed on.
func (t *tee) idle() bool {
	for i := range t.turns {
		if !t.turns[i].TryLock() {
			return false
		}
		waiting := readable(t.from[i], 0)
		t.turns[i].Unlock()
		if waiting {
			return false
		}
	}
	return true
}

// keep writes to the log, or keeps the end of what came before there is one. It
// is the log of a step too, while that is the only one that runs.
func (t *tee) keep(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) == 1 {
		for _, path := range t.steps {
			appendTo(path, p)
		}
	}
	if t.log != nil {
		_, _ = t.log.Write(p)
		return
	}
	t.early = append(t.early, p...)
	if over := len(t.early) - maxEarly; over > 0 {
		t.early = append(t.early[:0], t.early[over:]...)
	}
}

// appendTo writes to a log that the program writes to as well.
func appendTo(path string, p []byte) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(p)
	_ = f.Close()
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
