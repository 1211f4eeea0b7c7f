package artifact_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
)

func sample() (*artifact.Result, *stepv1.Result) {
	r := &artifact.Result{
		Format: 1, Run: "01RUN", Step: "train", Attempt: "01ATT", Incarnation: "abc",
		Failure: &artifact.Failure{Message: "läuft <nicht> & so", Permanent: true, Kind: artifact.FailurePanic, Trace: "main.go:3\n"},
		Outputs: []artifact.ResultOutput{
			{Name: "model", Type: artifact.OutputType{MediaType: "application/json", LanguageType: "main.Model"}, Path: "out/model.json", Metadata: map[string]string{"rows": "3"}},
			{Name: "data", Path: "/data/set", Tree: true},
			{Name: "small", Inline: []byte{0, 1, 254, 255}},
		},
		Metrics:    artifact.Metrics{"loss": 0.1, "nan": math.NaN(), "inf": math.Inf(1), "ninf": math.Inf(-1), "big": 1e300, "int": 3},
		Metadata:   map[string]string{"note": `{"a":[1,2]}`},
		Parameters: map[string]string{"lr": "0.01"},
		StartedUS:  1700000000000001, EndedUS: 1700000000000002,
	}
	p := &stepv1.Result{
		Format: 1, Run: "01RUN", Step: "train", Attempt: "01ATT", Incarnation: "abc",
		Failure: &stepv1.Failure{Message: "läuft <nicht> & so", Permanent: true, Kind: "panic", Trace: "main.go:3\n"},
		Outputs: []*stepv1.ResultOutput{
			{Name: "model", Type: &stepv1.Type{MediaType: "application/json", LanguageType: "main.Model"}, Path: "out/model.json", Metadata: map[string]string{"rows": "3"}},
			{Name: "data", Path: "/data/set", Tree: true},
			{Name: "small", Inline: []byte{0, 1, 254, 255}},
		},
		Metrics:    map[string]float64{"loss": 0.1, "nan": math.NaN(), "inf": math.Inf(1), "ninf": math.Inf(-1), "big": 1e300, "int": 3},
		Metadata:   map[string]string{"note": `{"a":[1,2]}`},
		Parameters: map[string]string{"lr": "0.01"},
		StartedUs:  1700000000000001, EndedUs: 1700000000000002,
	}
	return r, p
}

func TestResultIsWhatProtojsonWrites(t *testing.T) {
	t.Parallel()
	full, fullProto := sample()
	small := &artifact.Result{Format: 1, Run: "r", Step: "s", Attempt: "a", Incarnation: "i"}
	smallProto := &stepv1.Result{Format: 1, Run: "r", Step: "s", Attempt: "a", Incarnation: "i"}
	empty := &artifact.Result{Format: 1, Run: "r", Step: "s", Attempt: "a", Incarnation: "i", Failure: &artifact.Failure{}}
	emptyProto := &stepv1.Result{Format: 1, Run: "r", Step: "s", Attempt: "a", Incarnation: "i", Failure: &stepv1.Failure{}}
	tests := map[string]struct {
		ours  *artifact.Result
		proto *stepv1.Result
	}{"full": {full, fullProto}, "small": {small, smallProto}, "empty failure": {empty, emptyProto}}
	for name, tt := range tests {
		ours, err := json.Marshal(tt.ours)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := protojson.Marshal(tt.proto)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := errors.Join(json.Unmarshal(ours, &a), json.Unmarshal(theirs, &b)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("%s: JSON differs from protojson's:\n%s", name, diff)
		}
		var back stepv1.Result
		if err := protojson.Unmarshal(ours, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.proto, &back, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: protojson reads it differently:\n%s", name, diff)
		}
		got, err := artifact.ParseResult(theirs)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.ours, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: we read protojson's differently:\n%s", name, diff)
		}
	}
}

func TestWriteAndReadResult(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want, _ := sample()
	path := filepath.Join(dir, artifact.ResultFile)
	if _, err := artifact.ReadResult(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadResult of nothing = %v, want ErrNotExist", err)
	}
	if err := artifact.WriteResult(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := artifact.ReadResult(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("the directory holds %v beside the result", left)
	}
}

func TestReadResultRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(r *artifact.Result)) string {
		r, _ := sample()
		f(r)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := map[string]string{
		"not JSON":       "{",
		"other format":   change(func(r *artifact.Result) { r.Format = 2 }),
		"no attempt":     change(func(r *artifact.Result) { r.Attempt = "" }),
		"same name":      change(func(r *artifact.Result) { r.Outputs[1].Name = "model" }),
		"bad name":       change(func(r *artifact.Result) { r.Outputs[1].Name = "../model" }),
		"traversal":      change(func(r *artifact.Result) { r.Outputs[0].Path = "../other" }),
		"hidden":         change(func(r *artifact.Result) { r.Outputs[0].Path = "a/../../b" }),
		"unclean":        change(func(r *artifact.Result) { r.Outputs[1].Path = "/data/../etc" }),
		"itself":         change(func(r *artifact.Result) { r.Outputs[0].Path = "result" }),
		"the directory":  change(func(r *artifact.Result) { r.Outputs[0].Path = "." }),
		"NUL":            change(func(r *artifact.Result) { r.Outputs[0].Path = "a\x00b" }),
		"path and value": change(func(r *artifact.Result) { r.Outputs[0].Inline = []byte("x") }),
		"long value":     change(func(r *artifact.Result) { r.Outputs[2].Inline = make([]byte, artifact.MaxInline+1) }),
		"tree by value":  change(func(r *artifact.Result) { r.Outputs[2].Tree = true }),
		"bad metadata":   change(func(r *artifact.Result) { r.Outputs[0].Metadata["rows"] = "three" }),
		"bad metric":     strings.Replace(change(func(r *artifact.Result) {}), `"NaN"`, `"many"`, 1),
		"bad time":       strings.Replace(change(func(r *artifact.Result) {}), `"1700000000000001"`, `"soon"`, 1),
		"too long":       strings.Repeat(" ", artifact.MaxResult+1),
	}
	for name, data := range tests {
		path := filepath.Join(t.TempDir(), "result")
		write(t, path, data, 0o600)
		if _, err := artifact.ReadResult(path); !errors.Is(err, artifact.ErrInvalidResult) {
			t.Errorf("%s: ReadResult = %v, want ErrInvalidResult", name, err)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "r"), change(func(r *artifact.Result) {}), 0o600)
	if err := os.Symlink("r", filepath.Join(dir, "result")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "result"), dir} {
		if _, err := artifact.ReadResult(path); !errors.Is(err, artifact.ErrInvalidResult) {
			t.Errorf("ReadResult(%s) = %v, want ErrInvalidResult", path, err)
		}
	}
}

func FuzzParseResult(f *testing.F) {
	r, _ := sample()
	data, _ := json.Marshal(r)
	f.Add(data)
	f.Add([]byte(`{"format":1,"run":"r","step":"s","attempt":"a","incarnation":"i","outputs":[{"name":"x","path":"../y"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := artifact.ParseResult(in)
		if err != nil {
			if !errors.Is(err, artifact.ErrInvalidResult) {
				t.Errorf("ParseResult = %v", err)
			}
			return
		}
		for _, o := range r.Outputs {
			if o.Path != "" && !filepath.IsAbs(o.Path) && !filepath.IsLocal(o.Path) {
				t.Errorf("path %q leaves the directory", o.Path)
			}
		}
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := artifact.ParseResult(out)
		if err != nil {
			t.Fatalf("its own JSON is refused: %v", err)
		}
		if diff := cmp.Diff(r, again, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
