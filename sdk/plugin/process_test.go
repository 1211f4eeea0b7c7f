package plugin_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/plugin"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/cairn-stack/cairn/sdk/wire/launch"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const beByHand = "CAIRN_TEST_BY_HAND"

// TestMain makes the test binary a plugin when it is started as one.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(wire.CookieKey) != "", os.Getenv(beByHand) != "":
		plugin.Serve(plugin.Info{Name: "odd", Version: "1.2.3"}, newOdd(nil))
	default:
		os.Exit(m.Run())
	}
}

// spawn starts a child of the plugin, and writes its process id to a file. It
// fails where the child could reach the channel.
func spawn(name string) error {
	cmd := exec.Command("/bin/sh", "-c", "ls -l /proc/self/fd; sleep 600")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	if err != nil {
		return err
	}
	if strings.Contains(string(buf[:n]), "socket:") || os.Getenv(wire.EnvChannelFD) != "" {
		return errors.New("the child inherits the channel")
	}
	return os.WriteFile(name, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

func launchOdd(t *testing.T) (*launch.Process, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "crn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p, err := launch.Start(t.Context(), launch.Options{Name: "odd", Path: exe, Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p, dir
}

func TestServe(t *testing.T) {
	t.Parallel()
	p, _ := launchOdd(t)
	d, err := wire.NewClient(p.Conn()).Describe(t.Context())
	if err != nil || d.Name != "odd" || d.Version != "1.2.3" || len(d.Flavors) != 1 || d.SDK != "go/1" {
		t.Errorf("Describe = %+v, %v", d, err)
	}
	if err := wire.NewClient(p.Conn()).SetLogLevel(t.Context(), "debug"); err != nil {
		t.Error(err)
	}
	if err := wire.NewClient(p.Conn()).SetLogLevel(t.Context(), "loud"); err == nil {
		t.Error("the log level loud is accepted")
	}
	configureOdd(t, p.Conn(), "panic")
	if got, err := wire.NewArtifactStoreClient(p.Conn(), "i").Stat(t.Context(), []string{"k"}); err != nil || got[0].Err == nil {
		t.Errorf("a panic gives %v, %v", got, err)
	}
	if !p.Running() {
		t.Error("a panic of a flavor ended the process")
	}
	p.Stop()
	if p.Running() {
		t.Error("the plugin runs after Stop")
	}
}

// go-plugin makes a socket of its own; nobody gets in there.
func TestNoOtherConnectionIsServed(t *testing.T) {
	t.Parallel()
	_, dir := launchOdd(t)
	sockets, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, path := range sockets {
		if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
			continue
		}
		tried++
		conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if d, err := wire.NewClient(conn).Describe(t.Context()); err == nil {
			t.Errorf("another process is answered: %+v", d)
		}
		raw, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		raw.Close()
	}
	if tried == 0 {
		t.Errorf("no socket is found in %v: look for it elsewhere", sockets)
	}
}

func TestThePluginAndItsChildrenEndWithTheHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	p, dir := launchOdd(t)
	configureOdd(t, p.Conn(), "spawn")
	// The key is a relative path: the plugin's working directory is dir.
	got, err := wire.NewArtifactStoreClient(p.Conn(), "i").Stat(t.Context(), []string{"child"})
	if err != nil || got[0].Err != nil && !strings.Contains(got[0].Err.Error(), "answered with object") {
		t.Fatal(got, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Conn().(*grpc.ClientConn).Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Second)
	for running(p.PID()) || running(child) {
		if time.Now().After(deadline) {
			t.Fatalf("2 s after the end of the host: plugin %v, child %v", running(p.PID()), running(child))
		}
		runtime.Gosched()
	}
}

// running reports whether a process runs; one that waits to be reaped does not.
func running(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

func TestStartedByHand(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{beByHand + "=1"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("it ends with %v, want exit code 2", err)
	}
	for _, want := range []string{"cairn plugin odd, version 1.2.3", `artifact store "odd"`, "cairn plugin approve " + exe} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it says %q, without %q", out, want)
		}
	}
}
