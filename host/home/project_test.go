package home

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestProject(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := FindProject(deep)
	if err != nil || p != (Project{ID: DefaultProject}) || p.File() != "" {
		t.Errorf("without a file: %+v, %v", p, err)
	}
	if err := PinStack(p, "prod"); diag.CodeOf(err) != diag.Refused {
		t.Errorf("pinning without a project gives %v", err)
	}
	p, created, err := InitProject(root, "fraud")
	if err != nil || !created || p.ID != "fraud" || p.Root != root {
		t.Fatalf("%+v, %v, %v", p, created, err)
	}
	if err := PinStack(p, "prod"); err != nil {
		t.Fatal(err)
	}
	p, err = FindProject(deep)
	if err != nil || p.ID != "fraud" || p.Stack != "prod" || p.Root != root {
		t.Errorf("from below: %+v, %v", p, err)
	}
	if data, err := os.ReadFile(p.File()); err != nil || string(data) != "project: fraud\nstack: prod\n" {
		t.Errorf("the file is %q, %v", data, err)
	}
	if p, created, err := InitProject(root, ""); err != nil || created || p.Stack != "prod" {
		t.Errorf("again: %+v, %v, %v", p, created, err)
	}
	if _, _, err := InitProject(root, "other"); diag.CodeOf(err) != diag.Refused {
		t.Errorf("under another name: %v", err)
	}
	if err := PinStack(p, ""); err != nil {
		t.Fatal(err)
	}
	if p, err := FindProject(root); err != nil || p.Stack != "" {
		t.Errorf("without the pin: %+v, %v", p, err)
	}
	if left, err := filepath.Glob(filepath.Join(root, ".cairn", ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInitProjectNames(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{"My Model": "my-model", "fraud_2": "fraud_2", ".hidden": "hidden", "2024": "", "latest": "", "Übung": "bung"} {
		if got := nameOf(base); got != want {
			t.Errorf("%q makes %q, want %q", base, got, want)
		}
	}
	if _, _, err := InitProject(t.TempDir(), "Not Valid"); diag.CodeOf(err) != diag.Invalid {
		t.Errorf("a bad name gives %v", err)
	}
}

func TestBrokenProjectFiles(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"project: [":            "is not a project file",
		"project: x\nstak: y\n": "stak",
		"stack: prod\n":         "no valid project",
		"project: 12\n":         "no valid project",
		"project: A B\n":        "no valid project",
	} {
		root := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(root, ".cairn"), 0o755), os.WriteFile(filepath.Join(root, projectFile), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		_, err := FindProject(root)
		var d *diag.Error
		if !errors.As(err, &d) || d.Code != diag.Invalid || d.Hint == "" || !strings.Contains(d.Error(), says) {
			t.Errorf("%q gives %v, want it to say %q", text, err, says)
		}
		if _, _, err := InitProject(root, "x"); err == nil {
			t.Errorf("%q was overwritten", text)
		}
	}
}
