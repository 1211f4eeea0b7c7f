package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// big is more than travels inline.
func big() []byte {
	data := make([]byte, 300<<10)
	rand.Read(data)
	return data
}

// file leaves a file of the attempt as "out".
func file(data []byte) StepFunc {
	return func(_ context.Context, job Job) (*artifact.Result, error) {
		err := os.WriteFile(filepath.Join(job.Dir, "data"), data, 0o600)
		return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "data"}}}, err
	}
}

func views(on bool) func(*Config) { return func(c *Config) { c.ReadOnlyFiles = &on } }

func TestFilesAreHandedOn(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]bool{"views": true, "copies": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, views(view))
			run := r.create(spec(StepNode("a"), StepNode("b", "a")))
			data := big()
			var path string
			p := r.program(run, map[string]StepFunc{"a": file(data), "b": func(_ context.Context, job Job) (*artifact.Result, error) {
				path = job.Inputs[0].Path
				got, err := os.ReadFile(path)
				if !bytes.Equal(got, data) {
					return nil, fmt.Errorf("read %d bytes: %w", len(got), err)
				}
				return Value("1"), nil
			}})
			play(t, p, model.RunCompleted)
			if stored := strings.Contains(path, "/objects/"); stored != view {
				t.Errorf("the step read %s", path)
			}
			if err := r.engine.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(r.staging); len(left) != 0 {
				t.Errorf("left in staging: %v", left)
			}
			v := r.record(run).Outputs["a"][0]
			if v.Digest != artifact.HashBytes(data) || v.Size != int64(len(data)) || v.Inline != nil {
				t.Errorf("published %s, %d bytes, %d inline", v.Digest, v.Size, len(v.Inline))
			}
		})
	}
}

func TestSmallFileTravelsInline(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	var in JobInput
	play(t, r.program(run, map[string]StepFunc{"a": file([]byte("small")), "b": func(_ context.Context, job Job) (*artifact.Result, error) {
		in = job.Inputs[0]
		return Value("1"), nil
	}}), model.RunCompleted)
	if string(in.Inline) != "small" || in.Path != "" || r.stack.Store.Gets != 0 {
		t.Errorf("%+v, %d gets", in, r.stack.Store.Gets)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	data := big()
	p := r.program(run, map[string]StepFunc{
		"a": func(_ context.Context, job Job) (*artifact.Result, error) {
			for name, content := range map[string][]byte{"one": data, "deep/two": []byte("2"), "deep/same": []byte("2")} {
				path := filepath.Join(job.Dir, "model", name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
					return nil, err
				}
			}
			return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "model", Tree: true}}}, nil
		},
		"b": func(_ context.Context, job Job) (*artifact.Result, error) {
			in := job.Inputs[0]
			one, err := os.ReadFile(filepath.Join(in.Path, "one"))
			two, err2 := os.ReadFile(filepath.Join(in.Path, "deep", "two"))
			same, err3 := os.ReadFile(filepath.Join(in.Path, "deep", "same"))
			if err := errors.Join(err, err2, err3); err != nil || !in.Tree || !bytes.Equal(one, data) || string(two)+string(same) != "22" {
				return nil, fmt.Errorf("tree: %w", err)
			}
			return Value("1"), nil
		},
	})
	play(t, p, model.RunCompleted)
	if r.stack.Store.Puts != 4 {
		t.Errorf("%d puts, want 3 for the tree and 1 for b", r.stack.Store.Puts)
	}
}

func TestInputChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, views(true))
	run := r.create(spec(StepNode("a"), StepNode("b", "a")))
	play(t, r.program(run, map[string]StepFunc{"a": file(big()), "b": func(_ context.Context, job Job) (*artifact.Result, error) {
		return Value("1"), os.WriteFile(job.Inputs[0].Path, []byte("mine"), 0o600)
	}}), model.RunFailed)
	if e := r.record(run).Steps[1].Error; !strings.Contains(e, "input changed") || !strings.Contains(e, "'a'") {
		t.Error(e)
	}
}

func TestCorruptInput(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]bool{"views": true, "copies": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, views(view))
			n := StepNode("b", "a")
			n.Step.Retry.MaxRetries = 3
			run := r.create(spec(StepNode("a"), n))
			data := big()
			p := r.program(run, map[string]StepFunc{"a": file(data), "b": value("y")})
			spoil := func() {
				path := r.stack.Store.Path(r.engine.contentKey(artifact.HashBytes(data)))
				bad := bytes.Clone(data)
				bad[77] ^= 1
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Error(err)
				}
			}
			// The bytes are spoilt between the publication of a and the start of b.
			job := r.first(r.engine, run)
			if _, err := p.Steps["a"](t.Context(), job); err != nil {
				t.Fatal(err)
			}
			r.leave(job, &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "data"}}})
			if c, err := r.engine.CompleteJob(t.Context(), run, "s", job.Attempt); err != nil || c.Outcome != OutcomePublished {
				t.Fatalf("%+v %v", c, err)
			}
			if err := Until("the attempt's directory is removed", func() bool { _, err := os.Stat(job.Dir); return err != nil }); err != nil {
				t.Fatal(err)
			}
			spoil()
			play(t, p, model.RunFailed)
			b := r.record(run)
			if e := b.Steps[1].Error; !strings.Contains(e, "corrupt") || len(b.Attempts["b"]) != 1 {
				t.Errorf("%s; %d attempts", e, len(b.Attempts["b"]))
			}
		})
	}
}

func TestBadOffers(t *testing.T) {
	t.Parallel()
	out := func(names ...string) *artifact.Result {
		res := &artifact.Result{}
		for _, n := range names {
			res.Outputs = append(res.Outputs, artifact.ResultOutput{Name: n, Inline: []byte("1")})
		}
		return res
	}
	raw := func(text string) StepFunc {
		return func(_ context.Context, job Job) (*artifact.Result, error) {
			return nil, errors.Join(os.WriteFile(filepath.Join(job.Dir, "result"), []byte(text), 0o600))
		}
	}
	for name, c := range map[string]struct {
		step StepFunc
		want string
	}{
		"output missing":    {func(context.Context, Job) (*artifact.Result, error) { return out(), nil }, "no output 'out'"},
		"output undeclared": {func(context.Context, Job) (*artifact.Result, error) { return out("out", "outt"), nil }, "'outt' that it does not declare; did you mean 'out'?"},
		"no result":         {func(context.Context, Job) (*artifact.Result, error) { return nil, nil }, "left no result"},
		"not a result":      {raw("{"), "cannot be used"},
		"other attempt":     {raw(`{"format":1,"run":"r","step":"a","attempt":"x","incarnation":"y"}`), "of another attempt"},
		"file missing": {func(context.Context, Job) (*artifact.Result, error) {
			return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "none"}}}, nil
		}, "output 'out' cannot be stored"},
		"file is a link": {func(_ context.Context, job Job) (*artifact.Result, error) {
			return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "l"}}}, os.Symlink("/etc/passwd", filepath.Join(job.Dir, "l"))
		}, "output 'out' cannot be stored"},
		"panic": {func(context.Context, Job) (*artifact.Result, error) {
			return nil, &artifactFailure{artifact.Failure{Message: "boom", Kind: artifact.FailurePanic, Trace: "main.go:3"}}
		}, "panic: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			run := r.create(spec(StepNode("a")))
			play(t, r.program(run, map[string]StepFunc{"a": c.step}), model.RunFailed)
			if e := r.record(run).Steps[0].Error; !strings.Contains(e, c.want) {
				t.Errorf("error %q, want %q", e, c.want)
			}
		})
	}
}

func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	t.Run("for a moment", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		n := 0
		r.stack.Store.Fail = func(model.PutItem) error {
			if n++; n < 3 {
				return &diag.PluginError{Reason: diag.ErrUnavailable, Summary: "down"}
			}
			return nil
		}
		run := r.create(spec(StepNode("a")))
		play(t, r.program(run, map[string]StepFunc{"a": file(big())}), model.RunCompleted)
	})
	t.Run("because it is full", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.stack.Store.Fail = func(model.PutItem) error {
			return &diag.PluginError{Reason: diag.ErrExhausted, Summary: "no space left", Hint: "Free some space."}
		}
		s := spec(StepNode("a"))
		run := r.create(s)
		steps := map[string]StepFunc{"a": file(big())}
		play(t, r.program(run, steps), model.RunFailed)
		if st := r.record(run).Steps[0]; !strings.Contains(st.Error, "no space left") || st.Hint != "Free some space." {
			t.Errorf("%+v", st)
		}
		r.stack.Store.Fail = nil
		if err := r.resume(r.engine, run, s, false); err != nil {
			t.Fatal(err)
		}
		play(t, r.program(run, steps), model.RunCompleted)
	})
}

func TestOutputWrittenAfterItsEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.create(spec(StepNode("a")))
	data := big()
	var f *os.File
	play(t, r.program(run, map[string]StepFunc{"a": func(_ context.Context, job Job) (*artifact.Result, error) {
		var err error
		if f, err = os.Create(filepath.Join(job.Dir, "data")); err != nil {
			return nil, err
		}
		_, err = f.Write(data)
		return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Path: "data"}}}, err
	}}), model.RunCompleted)
	defer f.Close()
	if _, err := f.WriteAt([]byte("later"), 0); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(r.stack.Store.Path(r.engine.contentKey(artifact.HashBytes(data))))
	if err != nil || !bytes.Equal(stored, data) {
		t.Errorf("the stored bytes changed: %v", err)
	}
}
