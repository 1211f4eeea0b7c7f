package pipeline

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// wrongProgram is a program whose connections are wrong, and must not compile.
type wrongProgram struct {
	name, body string
	// both are the types that the compiler's error must name.
	both []string
}

const wrongHead = `package main
import (
	"context"
	"github.com/cairn-stack/cairn/sdk/pipeline"
)
type Data struct{ Rows []int }
type Model struct{ W float64 }
type Parts struct{ Train Data; Test Model }
func load(context.Context, string) (Data, error) { return Data{}, nil }
func split(context.Context, Data) (Parts, error) { return Parts{}, nil }
func train(context.Context, Data, float64) (Model, error) { return Model{}, nil }
func report(context.Context, Model) error { return nil }
var (
	Load = pipeline.Fn1("load", load)
	Split = pipeline.Fn1("split", split)
	Train = pipeline.Fn2("train", train)
	Report = pipeline.Proc1("report", report)
)
func build(b *pipeline.B) {
	data := Load.Do(b, pipeline.Lit("x"))
	model := Train.Do(b, data, pipeline.Lit(0.1))
	_, _ = data, model
`

var wrongPrograms = []wrongProgram{
	{"result of another type", `Train.Do(b, model, pipeline.Lit(0.1))`, []string{"Ref[Model]", "Arg[Data]"}},
	{"inputs in the wrong order", `Train.Do(b, pipeline.Lit(0.1), data)`, []string{"Literal[float64]", "Arg[Data]"}},
	{"literal of another type", `Train.Do(b, data, pipeline.Lit("0.1"))`, []string{"Literal[string]", "Arg[float64]"}},
	{"whole number for a number", `Train.Do(b, data, pipeline.Lit(1))`, []string{"Literal[int]", "Arg[float64]"}},
	{"step without a result as an input", `Split.Do(b, Report.Do(b, model))`, []string{"Done", "Arg[Data]"}},
	{"plain value as an input", `Load.Do(b, "x")`, []string{"string", "Arg[string]"}},
	{"plain function as an input", `Split.Do(b, load)`, []string{"func(context.Context, string) (Data, error)", "Arg[Data]"}},
	{"one input too few", `Train.Do(b, data)`, []string{"not enough arguments", "Arg[float64]"}},
	{"one input too many", `Load.Do(b, pipeline.Lit("x"), data)`, []string{"Ref[Data]", "Option"}},
	{"struct for its field", `Split.Do(b, Split.Do(b, data))`, []string{"Ref[Parts]", "Arg[Data]"}},
	{"another field of the struct", `Split.Do(b, pipeline.Field(Split.Do(b, data), func(p *Parts) *Model { return &p.Test }))`, []string{"Ref[Model]", "Arg[Data]"}},
	{"field of another struct", `pipeline.Field(data, func(p *Parts) *Data { return &p.Train })`, []string{"func(p *Parts) *Data", "func(*Data) *"}},
	{"pointer for a value", `Report.Do(b, pipeline.Lit(&Model{}))`, []string{"Literal[*Model]", "Arg[Model]"}},
	{"step as an input", `Report.Do(b, Train)`, []string{"Step2[Data, float64, Model]", "Arg[Model]"}},
	{"result kept as another type", `var r pipeline.Ref[Data] = model; _ = r`, []string{"Ref[Model]", "Ref[Data]"}},
	{"function without a context", `pipeline.Fn1("f", func(d Data) (Model, error) { return Model{}, nil })`, []string{"func(d Data) (Model, error)", "func(context.Context"}},
	{"function without an error", `pipeline.Fn1("f", func(_ context.Context, d Data) Model { return Model{} })`, []string{"func(_ context.Context, d Data) Model", "error)"}},
	{"After a literal", `Report.Do(b, model, pipeline.After(pipeline.Lit(1)))`, []string{"Literal[int]", "Node"}},
	{"pipeline without a builder", `pipeline.New("p", func(p Data) {})`, []string{"func(p Data)", "func(b *pipeline.B, params"}},
}

// exported gives an importer of compiled packages, as the compiler has them.
func exported(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".", "context").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

func TestWrongConnectionsDoNotCompile(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	imports := exported(t, fset)
	check := func(body string) string {
		var messages []string
		file, err := parser.ParseFile(fset, "wrong.go", wrongHead+body+"\n}\nfunc main() {}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		config := types.Config{Importer: imports, Error: func(err error) { messages = append(messages, err.Error()) }}
		// Its errors have been given to Error.
		_, _ = config.Check("main", fset, []*ast.File{file}, nil)
		return strings.Join(messages, "\n")
	}
	if errs := check(""); errs != "" {
		t.Fatalf("the right part of the program does not compile: %s", errs)
	}
	for _, w := range wrongPrograms {
		errs := check(w.body)
		if errs == "" {
			t.Errorf("%s: it compiles", w.name)
			continue
		}
		// The compiler writes the package's path before its types.
		text := strings.ReplaceAll(strings.ReplaceAll(errs, "github.com/cairn-stack/cairn/sdk/pipeline", "pipeline"), "main.", "")
		plain := strings.ReplaceAll(text, "pipeline.", "")
		for _, want := range w.both {
			if !strings.Contains(plain, strings.ReplaceAll(want, "pipeline.", "")) {
				t.Errorf("%s: the error does not name %s: %s", w.name, want, text)
			}
		}
	}
}

func TestStepsAreGenerated(t *testing.T) {
	t.Parallel()
	want, err := exec.Command("go", "run", "./internal/gensteps").Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("steps.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("steps.go is not current: go generate ./sdk/pipeline")
	}
}
