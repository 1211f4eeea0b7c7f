package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// maxLog is the size at which a new host log is begun; the one before is kept.
const maxLog = 4 << 20

// hostLog logs to a file that is opened by the first line, so that a host with
// nothing to say touches nothing.
func hostLog(path, hostID string) (*slog.Logger, func()) {
	f := &lazyFile{path: path}
	l := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelInfo}))
	return l.With("host", hostID), f.close
}

// lazyFile appends to a file that it opens when it is first written to. Several
// hosts append to the same one; each line is one write.
type lazyFile struct {
	path string

	mu     sync.Mutex
	file   io.WriteCloser
	closed bool
}

func (l *lazyFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(p), nil
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	return l.file.Write(p)
}

func (l *lazyFile) open() error {
	if _, err := os.Stat(filepath.Dir(l.path)); err != nil {
		// There is no home, and a log line is no reason to make one.
		return fmt.Errorf("open host log: %w", err)
	}
	if info, err := os.Stat(l.path); err == nil && info.Size() > maxLog {
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return fmt.Errorf("rotate host log: %w", err)
		}
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open host log: %w", err)
	}
	l.file = f
	return nil
}

func (l *lazyFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file != nil {
		_ = l.file.Close()
	}
}
