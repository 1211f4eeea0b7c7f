package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func build(pkg, to string) error {
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// TestScripts runs each scenario with a home of its own, and with cairn, the
// local plugin and the scripts' own pipeline built side by side. They are built
// without the race detector, which multiplies the start of a process.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	cairn := filepath.Join(bin, "cairn")
	err := errors.Join(
		build(".", cairn),
		build("github.com/cairn-stack/cairn/plugins/local", filepath.Join(bin, "cairn-plugin-local")),
		build("./testdata/train", filepath.Join(bin, "train")),
	)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// Short, since sockets lie in it.
			runtime, err := os.MkdirTemp("/tmp", "cairn-test-")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(runtime) })
			env.Setenv("CAIRN_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("XDG_RUNTIME_DIR", runtime)
			env.Setenv("CAIRN_BIN", cairn)
			env.Setenv("BIN", bin)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsWith, "await": await, "json": jsonIs,
		},
	})
}

// exitsWith is "exits CODE PROGRAM ARGS...": the program ends with the exit code.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// awaitTime is the deadline of a condition, which is met at once as a rule.
const awaitTime = 20 * time.Second

// await is "await PATTERN PROGRAM ARGS...": sooner or later the program's
// standard output matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await PATTERN PROGRAM ARGS...")
	}
	pattern, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(awaitTime); time.Now().Before(deadline); {
		if ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	ts.Fatalf("%s never printed %s", strings.Join(args[1:], " "), args[0])
}

// jsonIs is "json FILE PATH VALUE": the value at the path, such as
// 0.components.1.name, is VALUE; FILE may be stdout or stderr. "! json" says
// that it is not.
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var value any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &value); err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	for _, key := range strings.Split(args[1], ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s has %d entries, and none at '%s'", args[0], len(v), key)
			}
			value = v[i]
		default:
			value = nil
		}
	}
	got := "absent"
	switch v := value.(type) {
	case nil:
	case string:
		got = v
	default:
		text, err := json.Marshal(v)
		ts.Check(err)
		got = string(text)
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s in %s is %s", args[1], args[0], got)
	}
}
