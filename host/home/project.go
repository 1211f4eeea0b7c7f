package home

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// DefaultProject is the project of a directory that belongs to no other.
const DefaultProject = "default"

// projectFile is where a project's settings stand below its root.
const projectFile = ".cairn/project.yaml"

// Project is a repository's own name space, as its project.yaml says.
type Project struct {
	// ID is DefaultProject where there is no file.
	ID string
	// Stack is the pin; empty for none.
	Stack string
	// Root is the directory that holds .cairn; empty where there is no file.
	Root string
}

// File is where the project's settings stand; empty where there is no file.
func (p Project) File() string {
	if p.Root == "" {
		return ""
	}
	return filepath.Join(p.Root, projectFile)
}

// projectYAML is the file. Unknown keys are refused.
type projectYAML struct {
	Project string `yaml:"project"`
	Stack   string `yaml:"stack,omitempty"`
}

// FindProject looks for .cairn/project.yaml in a directory and upward. Without
// one, the project is the default one.
func FindProject(dir string) (Project, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Project{}, fmt.Errorf("find the project: %w", err)
	}
	for {
		p, err := readProject(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return Project{ID: DefaultProject}, nil
		}
		dir = parent
	}
}

// readProject reads the project whose root is dir; fs.ErrNotExist where there
// is none.
func readProject(root string) (Project, error) {
	file := filepath.Join(root, projectFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return Project{}, fs.ErrNotExist
	}
	if err != nil {
		return Project{}, &diag.Error{Code: diag.Refused, Err: err, Summary: "cannot read " + file, Detail: err.Error()}
	}
	var y projectYAML
	if err := yaml.UnmarshalWithOptions(data, &y, yaml.Strict()); err != nil {
		return Project{}, &diag.Error{Code: diag.Invalid, Summary: file + " is not a project file",
			Detail: strings.TrimSpace(yaml.FormatError(err, false, true)), Hint: "it holds 'project: NAME' and, if it pins a stack, 'stack: NAME'"}
	}
	if !model.ValidName(y.Project) {
		return Project{}, diag.Errorf(diag.Invalid, "%s names no valid project: %q", file, y.Project).WithHint(model.NameRule)
	}
	return Project{ID: y.Project, Stack: y.Stack, Root: root}, nil
}

// InitProject makes .cairn/project.yaml in a directory. An empty id is made of
// the directory's name. Where the file is there it stays as it is, and created
// is false; an id that differs from it is refused.
func InitProject(dir, id string) (p Project, created bool, err error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return p, false, fmt.Errorf("make the project: %w", err)
	}
	if id != "" && !model.ValidName(id) {
		return p, false, diag.Errorf(diag.Invalid, "%q cannot name a project", id).WithHint(model.NameRule)
	}
	p, err = readProject(root)
	switch {
	case err == nil && id != "" && id != p.ID:
		return p, false, diag.Errorf(diag.Refused, "%s is project %s already", root, p.ID).
			WithHint("to give it another name, edit %s: runs and artifacts stay with the old name", p.File())
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return p, false, err
	}
	if id == "" {
		if id = nameOf(filepath.Base(root)); id == "" {
			return p, false, diag.Errorf(diag.Invalid, "the directory's name %q does not make a project's name", filepath.Base(root)).
				WithHint("give one: cairn init --project NAME")
		}
	}
	p = Project{ID: id, Root: root}
	return p, true, writeProject(p)
}

// nameOf makes a valid name of a directory's; empty where it cannot.
func nameOf(base string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, base)
	name = strings.TrimLeft(name, "_.-")
	if name = strings.TrimRight(name[:min(len(name), 63)], "-"); !model.ValidName(name) {
		return ""
	}
	return name
}

// PinStack sets the project's pin; an empty stack takes it away.
func PinStack(p Project, stack string) error {
	if p.Root == "" {
		return diag.Errorf(diag.Refused, "there is no project here to pin a stack for").
			WithHint("make one with: cairn init")
	}
	p.Stack = stack
	return writeProject(p)
}

// writeProject writes the file whole or not at all.
func writeProject(p Project) (err error) {
	var buf bytes.Buffer
	if err := yaml.NewEncoder(&buf).Encode(projectYAML{Project: p.ID, Stack: p.Stack}); err != nil {
		return fmt.Errorf("encode the project: %w", err)
	}
	file := p.File()
	defer func() {
		if err != nil {
			err = &diag.Error{Code: diag.Refused, Err: err, Summary: "cannot write " + file, Detail: err.Error(),
				Hint: "check who may write there: ls -ld " + p.Root}
		}
	}()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".project-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by the rename where all went well
	_, err = f.Write(buf.Bytes())
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close(), fault.Hit("home.project.written"))
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
