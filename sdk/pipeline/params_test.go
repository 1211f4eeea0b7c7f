package pipeline

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/sdk/diag"
)

type everyParam struct {
	Ratio   float64       `default:"0.25" min:"0" max:"1" doc:"share held out"`
	MaxIter int           `default:"10" min:"1"`
	Small   int8          `default:"1"`
	Kind    string        `default:"a" enum:"a,bee"`
	Wait    time.Duration `default:"1m30s" max:"3600"`
	Deep    bool
	Layers  []int    `default:"3,4"`
	Tags    []string `name:"tag"`
	Seed    uint64
	Opt     struct {
		LearningRate float64 `default:"0.1"`
	}
	Token string `secret:"true" max:"20"`
}

func every() (*Pipeline, *everyParam) {
	got := &everyParam{}
	return New("every", func(b *B, p everyParam) { *got = p; loadStep.Do(b, Lit(p.Kind)) }), got
}

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := env[k]; return v, ok }
}

func TestParams(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "run.yaml")
	text := `stack: from-file
name: named
labels: {team: vision, n: 3}
parameters:
  ratio: 0.5
  max-iter: 20
  kind: bee
  layers: [7, 8, 9]
  seed: 18446744073709551615
  opt: {learning-rate: 1e-3}
steps:
  load: {retries: 4, backoff: 2s, max_backoff: 1m, timeout: 5m}
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, got := every()
	env := lookupIn(map[string]string{"CAIRN_PARAM_MAX_ITER": "30", "CAIRN_PARAM_RATIO": "0.6", "CAIRN_PARAM_TOKEN": "hush"})
	o, err := parseOptions(p, []string{"--ratio=0.7", "--config", config, "--deep", "--tag", "x,y", "--label", "team=audio"}, env)
	if err != nil {
		t.Fatal(err)
	}
	traced, err := o.trace()
	if err != nil {
		t.Fatal(err)
	}
	want := everyParam{
		Ratio: 0.7, MaxIter: 30, Small: 1, Kind: "bee", Wait: 90 * time.Second, Deep: true,
		Layers: []int{7, 8, 9}, Tags: []string{"x", "y"}, Seed: 18446744073709551615, Token: "hush",
	}
	want.Opt.LearningRate = 0.001
	if d := cmp.Diff(want, *got); d != "" {
		t.Errorf("parameters (-want +got):\n%s", d)
	}
	if o.stack != "from-file" || o.name != "named" || o.labels["team"] != "audio" || o.labels["n"] != "3" {
		t.Errorf("stack %q, name %q, labels %v", o.stack, o.name, o.labels)
	}
	step := traced.spec.GetNodes()[0].GetStep()
	if step.GetRetry().GetMaxRetries() != 4 || step.GetRetry().GetInitialBackoffMs() != 2000 || step.GetTimeoutMs() != 300_000 {
		t.Errorf("options of the step: %v", step)
	}
	records := traced.spec.GetParameters()
	if r := records["token"]; !r.GetSecret() || r.GetValue() != nil {
		t.Errorf("the secret parameter is recorded: %v", r)
	}
	if string(records["wait"].GetValue()) != `"1m30s"` || string(records["opt.learning-rate"].GetValue()) != "0.001" {
		t.Errorf("recorded: %v", records)
	}
}

func TestParamErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := func(text string) string {
		path := filepath.Join(dir, strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return '_'
			}
			return r
		}, text)+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := []struct {
		args []string
		env  map[string]string
		want []string
	}{
		{[]string{"--raito", "1"}, nil, []string{"unknown flag --raito; did you mean --ratio?"}},
		{[]string{"--ratio", "2"}, nil, []string{"--ratio", "2 is out of bounds: 0 to 1 are possible"}},
		{[]string{"--ratio", "NaN"}, nil, []string{`"NaN" is not of the kind number`}},
		{[]string{"--small", "300"}, nil, []string{"300"}},
		{[]string{"--kind", "be"}, nil, []string{`"be" is none of a, bee; did you mean 'bee'?`}},
		{[]string{"--wait", "3"}, nil, []string{"not a duration"}},
		{[]string{"--wait", "2h"}, nil, []string{"out of bounds"}},
		{[]string{"--layers", "1,x"}, nil, []string{`"x" is not of the kind int`}},
		{[]string{"--token", "x"}, nil, []string{"parameter 'token' is secret, so it is not a flag", "CAIRN_PARAM_TOKEN"}},
		{nil, map[string]string{"CAIRN_PARAM_TOKEN": "a very long secret text"}, []string{"parameter 'token' from CAIRN_PARAM_TOKEN", "a length of 23; 20 characters or less"}},
		{nil, map[string]string{"CAIRN_PARAM_SEED": "-1"}, []string{"parameter 'seed' from CAIRN_PARAM_SEED"}},
		{[]string{"stray"}, nil, []string{"unexpected argument 'stray'"}},
		{[]string{"--label", "x"}, nil, []string{"'x' is not KEY=VALUE"}},
		{[]string{"--name", "A"}, nil, []string{`run name "A"`}},
		{[]string{"--no-cache"}, nil, []string{"--no-cache is not known to this version"}},
		{[]string{"--config", dir + "/none"}, nil, []string{"does not exist"}},
		{[]string{"--config", yaml("[1]")}, nil, []string{"is not a YAML mapping"}},
		{[]string{"--config", yaml("stakc: x")}, nil, []string{"unknown key 'stakc'", "did you mean 'stack'?"}},
		{[]string{"--config", yaml("parameters: {ratoi: 1}")}, nil, []string{"no parameter 'ratoi'", "did you mean 'ratio'?"}},
		{[]string{"--config", yaml("parameters: {ratio: x}")}, nil, []string{"parameter 'ratio' in "}},
		{[]string{"--config", yaml("parameters: {ratio: }")}, nil, []string{"it has no value"}},
		{[]string{"--config", yaml("steps: {load: {retrie: 1}}")}, nil, []string{"unknown option 'load.retrie'; did you mean 'retries'?"}},
		{[]string{"--config", yaml("steps: {laod: {retries: 1}}")}, nil, []string{"no step 'laod'; did you mean 'load'?"}},
		{[]string{"--config", yaml("stack: 3")}, nil, []string{"3 is not a text"}},
	}
	for _, c := range cases {
		p, _ := every()
		o, err := parseOptions(p, c.args, lookupIn(c.env))
		if err == nil {
			_, err = o.trace()
		}
		var e *diag.Error
		if !errors.As(err, &e) || e.Code != diag.Invalid && e.Code != diag.NotFound {
			t.Errorf("%v %v: %v", c.args, c.env, err)
			continue
		}
		contains(t, strings.Join(c.args, " "), e.Error()+" "+e.Hint, c.want...)
	}
}

func TestParamStructErrors(t *testing.T) {
	t.Parallel()
	one := func(b *B) { loadStep.Do(b, Lit("x")) }
	cases := map[string]*Pipeline{
		"is a flag of every pipeline program": New("p", func(b *B, _ struct{ Stack string }) { one(b) }),
		"is not exported":                     New("p", func(b *B, _ struct{ x string }) { one(b) }),
		"a parameter is a text, a number":     New("p", func(b *B, _ struct{ M map[string]int }) { one(b) }),
		"have the same name, 'a-b'": New("p", func(b *B, _ struct {
			AB int `name:"a-b"`
			C  int `name:"a-b"`
		}) {
			one(b)
		}),
		"the default of struct": New("p", func(b *B, _ struct {
			N int `default:"x"`
		}) {
			one(b)
		}),
		"the tag min of": New("p", func(b *B, _ struct {
			N int `min:"x"`
		}) {
			one(b)
		}),
		"cannot be a flag": New("p", func(b *B, _ struct {
			N int `name:"a b"`
		}) {
			one(b)
		}),
		"are a int, not a struct": New("p", func(b *B, _ int) { one(b) }),
		"parameter 'n' is required": New("p", func(b *B, _ struct {
			N int `required:"true"`
		}) {
			one(b)
		}),
	}
	for want, p := range cases {
		err := p.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestSecretParameterIsNoLiteral(t *testing.T) {
	t.Parallel()
	p := New("p", func(b *B, p everyParam) { loadStep.Do(b, Lit("https://me:"+p.Token+"@host")) })
	o, err := parseOptions(p, nil, lookupIn(map[string]string{"CAIRN_PARAM_TOKEN": `hu"sh`}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = o.trace(); err == nil || !strings.Contains(err.Error(), "holds the secret parameter 'token'") || strings.Contains(err.Error(), "hu") {
		t.Errorf("%v", err)
	}
}

func TestHelpAndChoice(t *testing.T) {
	t.Parallel()
	p, _ := every()
	other := New("other", func(b *B, _ NoParams) { loadStep.Do(b, Lit("x")) })
	cases := []struct {
		pipelines []*Pipeline
		args      []string
		code      int
		want      []string
	}{
		{[]*Pipeline{p}, []string{"--help"}, 0, []string{
			"Usage: prog [flags]", "--ratio NUMBER", "share held out (default 0.25; 0 to 1)", "--kind A|BEE",
			"--layers INT", "separated by commas", "--deep\n", "1h0m0s or less", "secret; 20 characters or less", "--opt.learning-rate NUMBER", "CAIRN_PARAM_TOKEN (environment)", "--stack NAME", "Examples:",
		}},
		{[]*Pipeline{p, other}, []string{"--help"}, 0, []string{"Usage: prog PIPELINE", "  every\n  other"}},
		{[]*Pipeline{p, other}, []string{"every", "-h"}, 0, []string{"Usage: prog every [flags]"}},
		{[]*Pipeline{p, other}, nil, 2, []string{"several pipelines", "every, other"}},
		{[]*Pipeline{p, other}, []string{"othr"}, 2, []string{"no pipeline 'othr'; did you mean 'other'?"}},
		{[]*Pipeline{p, p}, nil, 2, []string{"two pipelines are called 'every'"}},
		{nil, nil, 2, []string{"no pipeline"}},
		{[]*Pipeline{p}, []string{"--raito"}, 2, []string{"error: unknown flag --raito; did you mean --ratio?", "hint: "}},
	}
	for _, c := range cases {
		var out bytes.Buffer
		prog := &program{args: append([]string{"/x/prog"}, c.args...), stdout: &out, stderr: &out, lookup: lookupIn(nil)}
		if code := prog.run(c.pipelines); code != c.code {
			t.Errorf("%v: exit code %d", c.args, code)
		}
		contains(t, strings.Join(c.args, " "), out.String(), c.want...)
	}
}
