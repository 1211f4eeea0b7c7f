package home

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const lockSuffix = ".lock"

// HostInfo is what a host writes into its lock file, so that others can name it
// without the database.
type HostInfo struct {
	ID      string `json:"id"`
	PID     int    `json:"pid"`
	Kind    string `json:"kind"`
	Version string `json:"version"`
}

// Lock is a host's exclusive lock. While it is held the host is alive; it goes
// with the process, however that ends.
type Lock struct {
	file *os.File
	path string
}

// Register locks HOME/hosts/ID.lock. To be called before the host writes its
// row, with an id that was never used.
func (h Home) Register(info HostInfo) (*Lock, error) {
	if !plainName(info.ID) {
		return nil, fmt.Errorf("%q is no host id", info.ID)
	}
	// Locked under another name first: nobody sees the lock file unlocked.
	path := h.lockPath(info.ID)
	part := path + ".new"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, unusable(h.Hosts(), homeVariable, err)
	}
	l := &Lock{file: f, path: path}
	data, err := json.Marshal(info)
	if err == nil {
		_, err = f.Write(append(data, '\n'))
	}
	if err == nil {
		err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = fault.Hit("home.register.locked")
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		os.Remove(part)
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

// Release removes the lock file and gives the lock up.
func (l *Lock) Release() error {
	err := os.Remove(l.path)
	return errors.Join(err, l.file.Close())
}

func (h Home) lockPath(hostID string) string { return filepath.Join(h.Hosts(), hostID+lockSuffix) }

// flock repeats the call while signals interrupt it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Alive reports whether a host holds its lock. One without a lock file is dead.
// Where the lock cannot be looked at, the host counts as alive.
func (h Home) Alive(hostID string) bool {
	return plainName(hostID) && held(h.lockPath(hostID))
}

// held reports whether somebody has a file locked exclusively.
func held(path string) bool {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		return true
	}
	defer f.Close()
	return flock(f, unix.LOCK_SH|unix.LOCK_NB) != nil
}

// Living lists the hosts that hold their locks.
func (h Home) Living() ([]HostInfo, error) {
	var all []HostInfo
	err := h.eachLock(func(id, path string) error {
		if !held(path) {
			return nil
		}
		info := HostInfo{ID: id}
		if data, err := os.ReadFile(path); err == nil {
			_ = json.Unmarshal(data, &info) // a lock file without a name is still a living host
		}
		all = append(all, info)
		return nil
	})
	return all, err
}

// Sweep removes the lock files of dead hosts, and gives their ids.
func (h Home) Sweep() ([]string, error) {
	var dead []string
	err := h.eachLock(func(id, path string) error {
		if held(path) {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the lock of a dead host: %w", err)
		}
		dead = append(dead, id)
		return nil
	})
	return dead, err
}

// eachLock visits the lock files of hosts. What a host left that died while it
// registered is removed on the way, once it is surely no host that is at it.
func (h Home) eachLock(visit func(id, path string) error) error {
	entries, err := os.ReadDir(h.Hosts())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list hosts: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(h.Hosts(), e.Name())
		if id, ok := strings.CutSuffix(e.Name(), lockSuffix); ok {
			if err := visit(id, path); err != nil {
				return err
			}
		} else if st, err := e.Info(); err == nil && time.Since(st.ModTime()) > time.Hour && !held(path) {
			os.Remove(path)
		}
	}
	return nil
}

// SchemaLock is the home's lock on the database's schema: each process that
// writes holds it shared, and who migrates alone.
type SchemaLock struct {
	home Home
	file *os.File
}

// schemaWait is how long Exclusive waits for other hosts that are only just
// starting or leaving; migrationWait is how long LockSchema waits for one that
// migrates.
const (
	schemaWait    = 2 * time.Second
	migrationWait = 10 * time.Second
)

// LockSchema takes the schema lock shared. It waits while another process
// migrates, for 10 s or until ctx ends; then it is refused with a *diag.Error
// that names the process.
func (h Home) LockSchema(ctx context.Context) (*SchemaLock, error) {
	f, err := os.OpenFile(h.schemaLock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(h.schemaLock(), homeVariable, err)
	}
	l := &SchemaLock{home: h, file: f}
	waiting, cancel := context.WithTimeout(ctx, migrationWait)
	defer cancel()
	if err := l.poll(waiting, unix.LOCK_SH); err != nil {
		defer f.Close()
		if ctx.Err() == nil && waiting.Err() != nil {
			return nil, l.migrating()
		}
		return nil, fmt.Errorf("wait for the migration of %s: %w", h.DB(), err)
	}
	return l, nil
}

// migrating says who holds the lock alone.
func (l *SchemaLock) migrating() error {
	e := diag.Errorf(diag.Refused, "%s is being made or migrated by another cairn process, for more than %v", l.home.DB(), migrationWait)
	pid, err := os.ReadFile(l.file.Name())
	if who := strings.TrimSpace(string(pid)); err == nil && who != "" {
		return e.WithDetail("it is the process %s", who).
			WithHint("wait for its end, or see what it does: ps -fp %[1]s; if it hangs: kill -9 %[1]s", who)
	}
	return e.WithHint("wait for its end, then try again")
}

// sign leaves this process's number in the lock file, for those who wait. That
// it cannot is no reason not to migrate.
func (l *SchemaLock) sign() {
	if l.file.Truncate(0) == nil {
		_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
}

// Exclusive makes the lock one of this process alone, and gives the function
// that makes it shared again. After a short wait it is refused with a
// *diag.Error that names the living hosts; the lock is then shared as before.
func (l *SchemaLock) Exclusive(ctx context.Context) (shared func() error, err error) {
	// Given up first: two that each hold it shared would wait for each other.
	if err := flock(l.file, unix.LOCK_UN); err != nil {
		return nil, fmt.Errorf("unlock the schema: %w", err)
	}
	waiting, cancel := context.WithTimeout(ctx, schemaWait)
	defer cancel()
	err = l.poll(waiting, unix.LOCK_EX)
	if err == nil {
		l.sign()
		return func() error { return flock(l.file, unix.LOCK_SH) }, nil
	}
	if shErr := l.poll(ctx, unix.LOCK_SH); shErr != nil {
		return nil, shErr
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, l.refusal()
}

// refusal names who keeps the schema from being changed.
func (l *SchemaLock) refusal() error {
	e := diag.Errorf(diag.Refused, "%s cannot be migrated while other cairn processes use it", l.home.DB())
	hosts, err := l.home.Living()
	if err != nil {
		return errors.Join(e, err)
	}
	var names, pids []string
	for _, h := range hosts {
		names = append(names, fmt.Sprintf("%s %s (pid %d)", h.Kind, h.Version, h.PID))
		pids = append(pids, fmt.Sprint(h.PID))
	}
	if len(hosts) == 0 {
		return e.WithHint("wait for them to end, then try again")
	}
	return e.WithDetail("living hosts: %s", strings.Join(names, ", ")).
		WithHint("let their runs end, or end them with: kill %s", strings.Join(pids, " "))
}

// poll tries for a lock until ctx ends: flock itself knows no deadline.
func (l *SchemaLock) poll(ctx context.Context, how int) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := flock(l.file, how|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// Release gives the lock up.
func (l *SchemaLock) Release() error { return l.file.Close() }
