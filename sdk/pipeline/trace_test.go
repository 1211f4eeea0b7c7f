package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

type parts struct {
	TrainSet Table
	Test     Table `artifact:"test-set"`
}

type model struct{ W []float64 }

var (
	loadStep  = Fn1("load", func(context.Context, string) (Table, error) { return Table{}, nil }, "path")
	splitStep = Fn2("split", func(context.Context, Table, float64) (parts, error) { return parts{}, nil }, "rows", "ratio")
	trainStep = Fn1("train", func(context.Context, Table) (model, error) { return model{}, nil })
	bothStep  = Fn1("both", func(context.Context, parts) (model, error) { return model{}, nil }, "parts")
	tellStep  = Proc1("tell", func(context.Context, model) error { return nil })
	anyStep   = Fn1("any", func(context.Context, any) (int, error) { return 0, nil })
)

func traceOf(t *testing.T, p *Pipeline, args ...string) (*traced, error) {
	t.Helper()
	o, err := parseOptions(p, args, func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	return o.trace()
}

func TestTrace(t *testing.T) {
	t.Parallel()
	p := New("iris", func(b *B, p struct{ Path string }) {
		rows := loadStep.Do(b, Lit(p.Path))
		s := splitStep.Do(b, rows, Lit(0.25))
		m := trainStep.Do(b, Field(s, func(s *parts) *Table { return &s.TrainSet }), Artifact("model"), Retries(3, time.Second, time.Minute), Timeout(90*time.Second))
		again := trainStep.Named("train-all").Do(b, rows, After(m), Secrets("token"))
		told := tellStep.Do(b, again)
		bothStep.Do(b, s, After(told))
	}, OnFailure(FailFast))
	got, err := traceOf(t, p, "--path", "data.csv")
	if err != nil {
		t.Fatal(err)
	}
	want := &stepv1.Pipeline{}
	const table = `{"mediaType":"text/csv; charset=utf-8","languageType":"pipeline.Table"}`
	const json = `{"mediaType":"application/json","languageType":"pipeline.model"}`
	text := strings.NewReplacer("TABLE", table, "MODEL", json).Replace(`{
	"name": "iris", "failureMode": "FAILURE_MODE_FAIL_FAST", "parameters": {"path": {"value": "ImRhdGEuY3N2Ig=="}},
	"nodes": [
		{"name": "load", "inputs": [{"name": "path", "type": {"mediaType": "application/json", "languageType": "string"}, "literal": "ImRhdGEuY3N2Ig=="}],
		 "step": {"function": "load", "retry": {}, "outputs": [{"name": "output", "type": TABLE}]}},
		{"name": "split", "inputs": [{"name": "rows", "type": TABLE, "output": {"node": "load", "output": "output"}},
			{"name": "ratio", "type": {"mediaType": "application/json", "languageType": "float64"}, "literal": "MC4yNQ=="}],
		 "step": {"function": "split", "retry": {}, "outputs": [{"name": "train_set", "type": TABLE}, {"name": "test", "type": TABLE, "artifact": "test-set"}]}},
		{"name": "train", "inputs": [{"name": "in1", "type": TABLE, "output": {"node": "split", "output": "train_set"}}],
		 "step": {"function": "train", "retry": {"maxRetries": 3, "initialBackoffMs": "1000", "maxBackoffMs": "60000"}, "timeoutMs": "90000", "outputs": [{"name": "output", "type": MODEL, "artifact": "model"}]}},
		{"name": "train-all", "after": ["train"], "inputs": [{"name": "in1", "type": TABLE, "output": {"node": "load", "output": "output"}}],
		 "step": {"function": "train", "retry": {}, "secrets": ["token"], "outputs": [{"name": "output", "type": MODEL}]}},
		{"name": "tell", "inputs": [{"name": "in1", "type": MODEL, "output": {"node": "train-all", "output": "output"}}],
		 "step": {"function": "tell", "retry": {}}},
		{"name": "both", "after": ["tell"], "inputs": [{"name": "parts.train_set", "type": TABLE, "output": {"node": "split", "output": "train_set"}},
			{"name": "parts.test", "type": TABLE, "output": {"node": "split", "output": "test"}}],
		 "step": {"function": "both", "retry": {}, "outputs": [{"name": "output", "type": MODEL}]}}
	]}`)
	if err := protojson.Unmarshal([]byte(text), want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got.spec, protocmp.Transform()); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[string]bool{"both": true}, got.leaves()); d != "" {
		t.Errorf("leaves (-want +got):\n%s", d)
	}
}

type hidden struct{ w []float64 }

type withChannel struct {
	Ok    int
	Inner struct{ Events chan int }
}

type withTable struct{ Inner struct{ T Table } }

func TestTraceErrors(t *testing.T) {
	t.Parallel()
	other := &B{byName: map[string]*node{}, defined: map[string]*definition{}}
	foreign := loadStep.Do(other, Lit("x"))
	cases := []struct {
		name  string
		build func(b *B)
		want  []string
	}{
		{"twice", func(b *B) { loadStep.Do(b, Lit("a")); loadStep.Do(b, Lit("b")) }, []string{"step 'load' stands there twice; the first is at trace_test.go:", `.Named("load-2")`}},
		{"bad name", func(b *B) { loadStep.Named("Load it").Do(b, Lit("a")) }, []string{`step name "Load it" is not a name: "L" cannot stand there`, "trace_test.go:"}},
		{"latest", func(b *B) { loadStep.Named("latest").Do(b, Lit("a")) }, []string{"'latest' is a reference"}},
		{"digits", func(b *B) { loadStep.Named("12").Do(b, Lit("a")) }, []string{"only digits"}},
		{"two definitions", func(b *B) {
			loadStep.Do(b, Lit("a"))
			Fn0("load", func(context.Context) (int, error) { return 0, nil }).Named("x").Do(b)
		}, []string{"two steps are defined as 'load', at trace_test.go:"}},
		{"no function", func(b *B) { Fn0[int]("f", nil).Do(b) }, []string{"step 'f' has no function"}},
		{"zero step", func(b *B) { var s Step0[int]; s.Do(b) }, []string{"was not made by pipeline.Fn"}},
		{"zero reference", func(b *B) { trainStep.Do(b, Ref[Table]{}) }, []string{"input 'in1' of step 'train' refers to no step"}},
		{"nil argument", func(b *B) { trainStep.Do(b, nil) }, []string{"input 'in1' of step 'train' refers to no step"}},
		{"other pipeline", func(b *B) { trainStep.Do(b, foreign) }, []string{"refers to a step of another pipeline"}},
		{"after other pipeline", func(b *B) { loadStep.Do(b, Lit("a"), After(foreign)) }, []string{"After of step 'load' refers to a step of another pipeline"}},
		{"artifact of several", func(b *B) { splitStep.Do(b, loadStep.Do(b, Lit("a")), Lit(0.1), Artifact("x")) }, []string{"several outputs", "`artifact:\"x\"`"}},
		{"artifact of none", func(b *B) { tellStep.Do(b, trainStep.Do(b, loadStep.Do(b, Lit("a"))), Artifact("x")) }, []string{"step 'tell' has no result for artifact 'x'"}},
		{"artifact name", func(b *B) { loadStep.Do(b, Lit("a"), Artifact("A")) }, []string{`artifact name "A" of step 'load'`}},
		{"retries", func(b *B) { loadStep.Do(b, Lit("a"), Retries(-1)) }, []string{"-1 retries"}},
		{"timeout", func(b *B) { loadStep.Do(b, Lit("a"), Timeout(-time.Second)) }, []string{"timeout of -1s"}},
		{"not exported", func(b *B) { Fn0("h", func(context.Context) (hidden, error) { return hidden{w: nil}, nil }).Do(b) }, []string{"the result of step 'h' cannot be stored", "field w of pipeline.hidden", "not exported"}},
		{"channel", func(b *B) { Fn0("c", func(context.Context) (withChannel, error) { return withChannel{}, nil }).Do(b) }, []string{"withChannel.Inner.Events is a chan int, which has no stored form"}},
		{"function", func(b *B) { Fn0("c", func(context.Context) (func(), error) { return nil, nil }).Do(b) }, []string{"is a func(), which has no stored form"}},
		{"interface", func(b *B) { Fn0("c", func(context.Context) (error, error) { return nil, nil }).Do(b) }, []string{"is the interface error"}},
		{"table inside", func(b *B) { Fn0("c", func(context.Context) (withTable, error) { return withTable{}, nil }).Do(b) }, []string{"withTable.Inner.T is a pipeline.Table, which is stored as a file of its own"}},
		{"literal table", func(b *B) { trainStep.Do(b, Lit(Table{})) }, []string{"literal pipeline.Table"}},
		{"literal function", func(b *B) { anyStep.Do(b, Lit[any](func() {})) }, []string{"cannot be recorded", "func()"}},
		{"literal NaN", func(b *B) {
			zero := 0.0
			anyStep.Do(b, Lit[any](map[string]float64{"a": zero / zero}))
		}, []string{"[a] is NaN"}},
		{"field of a field", func(b *B) {
			f := Field(splitStep.Do(b, loadStep.Do(b, Lit("a")), Lit(0.1)), func(s *parts) *Table { return &s.Test })
			Field(f, func(t *Table) *Table { return t })
		}, []string{"Field of step 'split'", "it is a field already"}},
		{"field elsewhere", func(b *B) {
			var elsewhere Table
			Field(splitStep.Do(b, loadStep.Do(b, Lit("a")), Lit(0.1)), func(*parts) *Table { return &elsewhere })
		}, []string{"the address of one of its own exported fields"}},
		{"field through nil", func(b *B) {
			p := Fn0("p", func(context.Context) (struct{ P *parts }, error) { return struct{ P *parts }{}, nil })
			Field(p.Do(b), func(s *struct{ P *parts }) *Table { return &s.P.Test })
		}, []string{"must only give the address of a field"}},
		{"own error", func(b *B) { b.Fail(errors.New("these do not go together")) }, []string{"trace_test.go:", "these do not go together"}},
		{"empty", func(*B) {}, []string{"it has no steps"}},
		{"names of inputs", func(b *B) {
			Fn1("n", func(_ context.Context, n int) (int, error) { return n, nil }, "a", "b").Do(b, Lit(1))
		}, []string{"step 'n' has 1 inputs, and 2 names"}},
	}
	for _, c := range cases {
		_, err := traceOf(t, New("p", func(b *B, _ NoParams) { c.build(b) }))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		var e *diag.Error
		if !errors.As(err, &e) || e.Code != diag.Invalid {
			t.Errorf("%s: not an error for people: %v", c.name, err)
		}
		contains(t, c.name, err.Error(), c.want...)
	}
}

func TestAllErrorsOfATraceAreReported(t *testing.T) {
	t.Parallel()
	_, err := traceOf(t, New("p", func(b *B, _ NoParams) {
		loadStep.Do(b, Lit("a"), Retries(-1))
		b.Fail(errors.New("second"))
	}))
	var e *diag.Error
	if !errors.As(err, &e) || len(e.Findings) != 2 {
		t.Errorf("%v", err)
	}
}

func TestStepsAreHarmlessOutsideARun(t *testing.T) {
	t.Parallel()
	s := From(t.Context())
	s.Metric("a", 1)
	s.Metadata("b", func() {})
	s.Param("c", 1)
	s.Log().Debug("nothing")
	if s.Attempt() != 1 || s.Step() != "" {
		t.Errorf("attempt %d of %q", s.Attempt(), s.Step())
	}
	if _, err := s.Secret(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "outside a run") {
		t.Error(err)
	}
	ctx := WithSecrets(t.Context(), map[string]map[string]string{"db": {"user": "u"}})
	if got, err := From(ctx).Secret(ctx, "db"); err != nil || got["user"] != "u" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := From(ctx).Secret(ctx, "dbx"); err == nil {
		t.Error("a secret that was not given is there")
	}
	if Permanent(nil) != nil {
		t.Error("no error became one")
	}
	if base := errors.New("base"); !errors.Is(Permanent(base), base) {
		t.Error("Permanent hides what it wraps")
	}
}
