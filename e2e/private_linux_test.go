package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func mountTmpfs(dir, size string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700")
}

func unmount(dir string) { syscall.Unmount(dir, syscall.MNT_DETACH) }

const canary = "c4n4ry-Zq7-secret-value"

// needles are the canary in the encodings in which it could be seen.
func needles() map[string]string {
	return map[string]string{
		"plain": canary, "hex": hex.EncodeToString([]byte(canary)),
		"base64":     strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(canary)), "="),
		"base64 + 1": base64.StdEncoding.EncodeToString([]byte("x" + canary))[2:20],
		"base64 + 2": base64.StdEncoding.EncodeToString([]byte("xx" + canary))[3:20],
	}
}

// With any umask, nobody else can read what cairn keeps, or speak to it; and no
// secret value is anywhere but encrypted in the database and in the hands of the
// step that declared it.
func TestKeptPrivate(t *testing.T) {
	t.Parallel()
	p := newPlace(t, bins)
	create := p.command("cairn", nil, "secret", "create", "db", "password")
	create.Stdin = strings.NewReader(canary)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("secret create: %v\n%s", err, out)
	}
	// A value in the environment of the program is the program's alone.
	s := &started{Cmd: exec.Command("/bin/sh", "-c", "umask 0000; exec "+filepath.Join(bins, "program")+" --b secret"), exited: make(chan struct{})}
	s.Cmd.Env, s.Cmd.Dir = append(slices.Clone(p.env), "AWS_SECRET_ACCESS_KEY="+canary, "MY_TOKEN="+canary), p.dir
	s.Stdout, s.Stderr = s, s
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() { s.Process.Kill() })
	eventually(t, soon, "in step b", func() bool { return p.count("start:b") == 1 })

	plugin := p.pidOf("cairn-plugin-local")
	p.checkPluginEnv(plugin)
	for pid, cmd := range p.processes() {
		if strings.Contains(cmd, canary) {
			t.Errorf("process %d has the secret in its arguments: %s", pid, cmd)
		}
	}
	p.checkModes()
	p.checkOtherUser()
	p.checkNoCanary()
	p.release()
	if code := s.exit(t); code != 0 {
		t.Errorf("exit %d:\n%s", code, s.output())
	}
	p.checkNoCanary()
	p.checkModes()
	if strings.Contains(p.journal("latest")+p.cairn("run", "logs", "latest")+p.cairn("run", "logs", "latest", "b"), canary) {
		t.Error("the secret is in what describes the run")
	}
}

// checkPluginEnv checks a plugin's environment against what it may be given.
func (p *place) checkPluginEnv(pid int) {
	p.t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	allowed := []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}
	for entry := range strings.SplitSeq(strings.TrimRight(string(env), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		// The handshake's own: go-plugin's names and cairn's.
		if name != "CAIRN_CHANNEL_FD" && !slices.Contains(allowed, name) && !strings.HasPrefix(name, "LC_") && !strings.HasPrefix(name, "PLUGIN_") && !strings.HasPrefix(name, "CAIRN_PLUGIN") {
			p.t.Errorf("the plugin is given %s", entry)
		}
		if strings.Contains(value, canary) {
			p.t.Errorf("the plugin is given a secret in %s", name)
		}
	}
}

// checkModes checks that no file of the home or the runtime directory can be
// reached by others, by its own mode. Two stand behind a directory that nobody
// else can enter: the store, whose files are as they were made, and go-plugin's
// own socket. Nothing is writable by others.
func (p *place) checkModes() {
	p.t.Helper()
	for _, root := range []string{p.home(), filepath.Join(p.dir, "run", "cairn")} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil || strings.Contains(path, "/plugin-dir") && d.Type() == fs.ModeSocket {
				return nil
			}
			forbidden := fs.FileMode(0o077)
			if strings.Contains(path, "/home/artifacts") {
				forbidden = 0o022
			}
			if info.Mode().Perm()&forbidden != 0 && info.Mode()&fs.ModeSymlink == 0 {
				p.t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// checkNoCanary looks for the secret in every file that was written.
func (p *place) checkNoCanary() {
	p.t.Helper()
	filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for how, needle := range needles() {
			if bytes.Contains(data, []byte(needle)) {
				p.t.Errorf("%s holds the secret, %s", path, how)
			}
		}
		return nil
	})
}

// checkOtherUser tries to reach the host's socket and the home as nobody.
func (p *place) checkOtherUser() {
	p.t.Helper()
	if os.Getuid() != 0 {
		p.t.Log("not root: nobody else's eyes to look through")
		return
	}
	sockets, err := filepath.Glob(filepath.Join(p.dir, "run", "cairn", "*", "*.sock"))
	if err != nil || len(sockets) == 0 {
		p.t.Fatalf("sockets: %v, %v", sockets, err)
	}
	// As everybody's, so that it is cairn's own modes that keep others out.
	for _, dir := range []string{p.dir, filepath.Join(p.dir, "run")} {
		if err := os.Chmod(dir, 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	asNobody(p.t, func() {
		for _, socket := range sockets {
			c, err := net.Dial("unix", socket)
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, fs.ErrPermission) {
				p.t.Errorf("another user who connects to %s gets %v", socket, err)
			}
		}
		for _, path := range []string{filepath.Join(p.home(), "cairn.db"), filepath.Join(p.home(), "logs", "host.log")} {
			if _, err := os.ReadFile(path); !errors.Is(err, fs.ErrPermission) {
				p.t.Errorf("another user who reads %s gets %v", path, err)
			}
		}
	})
}

// asNobody calls f on a thread whose user is nobody; it dies with f.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan syscall.Errno, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534)
		if errno == 0 {
			f()
		}
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		t.Fatal(errno)
	}
}
