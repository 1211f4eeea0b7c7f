package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

const (
	// maxPatch bounds the uncommitted patch that is recorded whole.
	maxPatch = 1 << 20
	// gitTime bounds what git may take of a run's time.
	gitTime = 3 * time.Second
)

// provenance says what makes the run. What cannot be known is left out: a run
// does not fail for it.
func provenance(ctx context.Context, dir string, argv []string) *apiv1.Provenance {
	p := &apiv1.Provenance{CommandLine: argv, Versions: map[string]string{"go": runtime.Version()}}
	p.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		p.User = u.Username
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path != "" {
				p.Versions[m.Path] = m.Version
			}
			if m.Replace != nil {
				p.Versions[m.Path] = m.Replace.Version
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, gitTime)
	defer cancel()
	gitProvenance(ctx, dir, p)
	return p
}

// gitProvenance asks git, once where nothing is uncommitted.
func gitProvenance(ctx context.Context, dir string, p *apiv1.Provenance) {
	if !inGit(dir) {
		return
	}
	status, err := git(ctx, dir, 1<<20, "status", "--porcelain=v2", "--branch")
	if err != nil {
		return
	}
	changed := false
	for line := range strings.Lines(status) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "# branch.oid "):
			p.GitCommit = strings.TrimPrefix(line, "# branch.oid ")
		case strings.HasPrefix(line, "# branch.head "):
			p.GitBranch = strings.TrimPrefix(line, "# branch.head ")
		case strings.HasPrefix(line, "#"), line == "":
		case strings.HasPrefix(line, "?"):
			p.GitDirty = true
		default:
			p.GitDirty, changed = true, true
		}
	}
	if !changed || p.GitCommit == "(initial)" {
		return
	}
	patch, err := git(ctx, dir, 64<<20, "diff", "--binary", "--no-ext-diff", "--no-color", "HEAD")
	if err != nil {
		return
	}
	sum := sha256.Sum256([]byte(patch))
	p.GitPatchDigest = "sha256:" + hex.EncodeToString(sum[:])
	if len(patch) <= maxPatch {
		p.GitPatch = strings.ToValidUTF8(patch, "\ufffd")
	}
}

// inGit reports whether a directory lies in a git work tree, without asking git.
func inGit(dir string) bool {
	for {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false
		}
		dir = up
	}
}

// git gives what a git command that changes nothing prints.
func git(ctx context.Context, dir string, most int64, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(out, most+1))
	if err == nil && int64(len(data)) > most {
		err = errors.New("git prints too much")
		_ = cmd.Process.Kill()
	}
	return string(data), errors.Join(err, cmd.Wait())
}

// recipe says how to start the program again.
func (p *program) recipe(o *options, codeKey string) *apiv1.Recipe {
	r := &apiv1.Recipe{Argv: withoutResume(p.args), WorkingDir: p.dir, CodeDigest: codeKey, Env: map[string]string{}}
	for _, q := range o.params.params {
		if v, ok := p.lookup(q.variable()); ok && !q.secret {
			r.Env[q.variable()] = v
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || !isGoRun(p.executable) {
		return r
	}
	r.GoPackage = info.Path
	if info.Path == "command-line-arguments" {
		// "go run main.go": the file that calls Main is the program.
		r.GoPackage = p.mainFile
	}
	var goflags []string
	for _, s := range info.Settings {
		switch s.Key {
		case "CGO_ENABLED":
			r.Env[s.Key] = s.Value
		case "-race", "-tags", "-trimpath":
			goflags = append(goflags, s.Key+"="+s.Value)
		}
	}
	if len(goflags) > 0 {
		r.Env["GOFLAGS"] = strings.Join(goflags, " ")
	}
	return r
}

// withoutResume is a command line without what made it a resume.
func withoutResume(argv []string) []string {
	var out []string
	for i := 0; i < len(argv); i++ {
		if argv[i] == "--resume" {
			i++
			continue
		}
		if !strings.HasPrefix(argv[i], "--resume=") {
			out = append(out, argv[i])
		}
	}
	return out
}

// isGoRun reports whether an executable is one that "go run" made: it lies in a
// temporary directory or in the build cache, and goes away.
func isGoRun(executable string) bool {
	for _, part := range strings.Split(filepath.ToSlash(executable), "/") {
		if strings.HasPrefix(part, "go-build") {
			return true
		}
	}
	return false
}

// codeKey is the digest of the program's code: its Go build id, or the digest
// of the executable where it has none.
func codeKey(executable string) (string, error) {
	f, err := os.Open(executable)
	if err != nil {
		return "", fmt.Errorf("read the program: %w", err)
	}
	defer f.Close()
	head := make([]byte, 32<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read the program: %w", err)
	}
	if id := buildID(head[:n]); id != "" {
		return "go:" + id, nil
	}
	h := sha256.New()
	h.Write(head[:n])
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the program: %w", err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// buildID finds the Go build id in the beginning of an executable: an ELF note,
// or the text that the linker puts before the code where there are no notes.
func buildID(head []byte) string {
	// Length of the name, length of the id, type 4, the name.
	note := []byte("\x04\x00\x00\x00Go\x00\x00")
	if i := bytes.Index(head, note); i >= 8 && bytes.HasPrefix(head, []byte("\x7fELF")) {
		size := int(binary.LittleEndian.Uint32(head[i-4:]))
		if from := i + len(note); size > 0 && size < 1<<10 && from+size <= len(head) {
			return string(head[from : from+size])
		}
	}
	if _, rest, ok := bytes.Cut(head, []byte("\xff Go build ID: \"")); ok {
		if id, _, ok := bytes.Cut(rest, []byte("\"\n \xff")); ok && len(id) < 1<<10 {
			return string(id)
		}
	}
	return ""
}
