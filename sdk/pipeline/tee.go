package pipeline

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tee sends what the process prints through its host, which passes it on and
// writes it to the run's log: also the last words of a process that crashes.
// Only Main uses it, since it changes the descriptors of the whole process.
type tee struct {
	streams [2]teeStream
	once    sync.Once
}

// teeStream is standard output or standard error.
type teeStream struct {
	fd       int
	real     *os.File // where it went before
	from, to *os.File // the pipe
}

// newTee makes pipes; nothing goes through them yet.
func newTee() (*tee, error) {
	t := &tee{}
	for i := range t.streams {
		s := &t.streams[i]
		s.fd = i + 1
		fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == nil {
			s.real = os.NewFile(uintptr(fd), "terminal")
			s.from, s.to, err = os.Pipe()
		}
		if err != nil {
			t.close()
			return nil, fmt.Errorf("keep what the program prints: %w", err)
		}
	}
	return t, nil
}

// files are the descriptors 3 to 6 of the host.
func (t *tee) files() []*os.File {
	out, err := t.streams[0], t.streams[1]
	return []*os.File{out.from, err.from, out.real, err.real}
}

// begin sends what is printed from now on to the host.
func (t *tee) begin() error {
	for i := range t.streams {
		s := &t.streams[i]
		if err := duplicate(int(s.to.Fd()), s.fd); err != nil {
			return fmt.Errorf("keep what the program prints: %w", err)
		}
		if err := s.to.Close(); err != nil {
			return fmt.Errorf("keep what the program prints: %w", err)
		}
		s.to = nil
	}
	return nil
}

// end lets what is printed go where it went before, so that the host sees the
// end of it. Where the host is gone, what it has not passed on is.
func (t *tee) end(hostGone bool) {
	t.once.Do(func() {
		for i := range t.streams {
			s := &t.streams[i]
			// Were it to fail, the host would still pass on what is printed.
			_ = duplicate(int(s.real.Fd()), s.fd)
		}
		if hostGone {
			t.drain()
		}
	})
}

// drainTime bounds the wait for the rest of what was printed: a process that a
// step left behind may hold the pipe open.
const drainTime = time.Second

// drain passes on what a lost host has left in the pipes.
func (t *tee) drain() {
	var copies sync.WaitGroup
	for _, s := range t.streams {
		copies.Go(func() { _, _ = io.Copy(s.real, s.from) })
	}
	done := make(chan struct{})
	go func() { copies.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(drainTime):
	}
}

// close gives up the pipes.
func (t *tee) close() {
	for _, s := range t.streams {
		for _, f := range []*os.File{s.from, s.to} {
			if f != nil {
				_ = f.Close() // nothing of it is to be written any more
			}
		}
	}
}
