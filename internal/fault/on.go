//go:build faults

package fault

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled reports whether the points are compiled in.
const Enabled = true

var (
	mu   sync.Mutex
	hits = map[string]int{}
)

// Hit is a named point: it does what CAIRN_FAULT says. Safe for concurrent use.
func Hit(point string) error {
	mu.Lock()
	hits[point]++
	n := hits[point]
	if file := os.Getenv("CAIRN_FAULT_RECORD"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintf(f, "%s %d\n", point, n)
			f.Close()
		}
	}
	mu.Unlock()
	parts := strings.SplitN(os.Getenv("CAIRN_FAULT"), ":", 3)
	if len(parts) != 3 || parts[0] != point {
		return nil
	}
	if at, err := strconv.Atoi(parts[1]); err != nil || at != n {
		return nil
	}
	switch action, arg, _ := strings.Cut(parts[2], "="); action {
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "error":
		return fmt.Errorf("%w at %s", ErrInjected, point)
	case "delay":
		d, err := time.ParseDuration(arg)
		if err == nil {
			time.Sleep(d)
		}
	}
	return nil
}
