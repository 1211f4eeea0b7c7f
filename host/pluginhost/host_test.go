package pluginhost

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envHost makes the test binary a host: its value is the directory to work in.
const envHost = "CAIRN_TEST_HOST"

// beHost opens a stack, says which processes there are and waits to be killed.
func beHost(dir string) {
	m, err := New(hostOptions(dir))
	if err == nil {
		var s *Stack
		if s, err = m.OpenStack(background(), fakeStack("tree", dir)); err == nil {
			defer s.Close()
		}
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	check := m.Check(background(), fakeStack("tree", dir)[:1], false)[0]
	if check.Err != nil {
		fmt.Println("error", check.Err)
		os.Exit(1)
	}
	fmt.Println(check.Diagnostics[0].Summary)
	hang()
}

// TestHostKilled kills a host with SIGKILL. Within 2 s nothing of it may be
// left: no plugin (here one that does not see its host's end, or is stopped),
// no child of a plugin, no guard, no runtime directory.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			link(t, dir, "tree")
			if err := os.Symlink(filepath.Join(dir, "bin", "cairn-plugin-tree"), filepath.Join(dir, "bin", "child")); err != nil {
				t.Fatal(err)
			}
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			host := exec.Command(exe)
			host.Env = append(os.Environ(), envHost+"="+dir)
			host.Stderr = os.Stderr
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[0] != "pid" {
				t.Fatalf("the host said %q", line)
			}
			plugin, _ := strconv.Atoi(fields[1])
			child, _ := strconv.Atoi(fields[3])
			guardPID, _ := guardOf(host.Process.Pid)
			for _, pid := range []int{plugin, child, guardPID} {
				if pid <= 1 || processGone(pid) {
					t.Fatalf("process %d does not run (%q)", pid, line)
				}
			}
			// A guard that is killed is replaced.
			if err := syscall.Kill(guardPID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				pid, ok := guardOf(host.Process.Pid)
				if ok && pid != guardPID && ignoresSignals(pid) {
					guardPID = pid
					return true
				}
				return false
			})
			// Neither Ctrl-C nor a polite end of everything concerns a guard.
			for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
				if err := syscall.Kill(guardPID, s); err != nil {
					t.Fatal(err)
				}
			}
			if sid, err := sessionOf(guardPID); err != nil || sid != guardPID {
				t.Errorf("the guard's session is %d: %v", sid, err)
			}
			if stopped {
				if err := syscall.Kill(plugin, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			host.Wait()
			left := func() string {
				for what, pid := range map[string]int{"the plugin": plugin, "its child": child, "the guard": guardPID} {
					if !processGone(pid) {
						return what
					}
				}
				if _, err := os.Lstat(hostOptions(dir).RuntimeDir); err == nil {
					return "the runtime directory"
				}
				return ""
			}
			for left() != "" && time.Since(begin) < 2*time.Second {
				time.Sleep(time.Millisecond)
			}
			if what := left(); what != "" {
				t.Errorf("after 2 s there is still %s", what)
			}
			t.Logf("all gone after %s", time.Since(begin))
		})
	}
}

// guardOf finds the guard among the children of a process.
func guardOf(parent int) (int, bool) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) < 2 || f[1] != strconv.Itoa(parent) {
			continue
		}
		if cmd, _ := os.ReadFile(d + "/cmdline"); strings.Contains(string(cmd), "__guard") {
			pid, _ := strconv.Atoi(filepath.Base(d))
			return pid, true
		}
	}
	return 0, false
}

// ignoresSignals reports whether a guard has got as far as to ignore SIGTERM.
func ignoresSignals(pid int) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, _, _ := strings.Cut(rest, "\n")
	bits, _ := strconv.ParseUint(mask, 16, 64)
	return bits&(1<<(uint(syscall.SIGTERM)-1)) != 0
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 10 s")
		}
	}
}

func sessionOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strconv.Atoi(strings.Fields(rest)[3])
}

// processGone counts a zombie as gone.
func processGone(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}
