package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type retry struct {
	Max  int             `json:"max" doc:"Tries." default:"3" min:"0"`
	Wait config.Duration `json:"wait" doc:"First wait." default:"1s"`
}

type common struct {
	Labels map[string]string `json:"labels" doc:"Free labels."`
}

type sample struct {
	common
	Path     string          `json:"path" doc:"Directory of the store." required:"true" format:"path" example:"/srv/store"`
	Region   string          `json:"region" doc:"Region." default:"eu" enum:"eu,us"`
	Parallel int             `json:"parallel" doc:"Uploads at once." default:"4" min:"1" max:"64"`
	Ratio    float64         `json:"ratio" min:"0" max:"1"`
	Fast     bool            `json:"fast" default:"true"`
	Timeout  config.Duration `json:"timeout" default:"30s"`
	Token    config.Secret   `json:"token" doc:"Access token."`
	Hosts    []string        `json:"hosts" max:"3" default:"a,b"`
	Keys     []config.Secret `json:"keys"`
	Retry    *retry          `json:"retry"`
	Old      string          `json:"old" deprecated:"use path"`
	Code     string          `json:"code" pattern:"^[a-z]+$"`
	Hidden   string          `json:"-"`
}

func schemaOf[T any](t testing.TB) *config.Schema {
	t.Helper()
	raw, err := config.SchemaOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	s, err := config.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaOfIsStable(t *testing.T) {
	t.Parallel()
	a, b := schemaOf[sample](t), schemaOf[sample](t)
	if string(a.JSON()) != string(b.JSON()) {
		t.Error("the same struct gives different bytes")
	}
	if !strings.Contains(string(a.JSON()), `"x-cairn-secret":true`) {
		t.Errorf("the secret is not marked in %s", a.JSON())
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	want := []config.Field{
		{Name: "labels", Type: "object", Items: "string", Description: "Free labels."},
		{Name: "path", Type: "string", Description: "Directory of the store.", Required: true, Format: "path", Example: raw(`"/srv/store"`)},
		{Name: "region", Type: "string", Description: "Region.", Default: raw(`"eu"`), Enum: []json.RawMessage{raw(`"eu"`), raw(`"us"`)}},
		{Name: "parallel", Type: "integer", Description: "Uploads at once.", Default: raw("4"), Minimum: "1", Maximum: "64"},
		{Name: "ratio", Type: "number", Minimum: "0", Maximum: "1"},
		{Name: "fast", Type: "boolean", Default: raw("true")},
		{Name: "timeout", Type: "string", Default: raw(`"30s"`), Format: "go-duration"},
		{Name: "token", Type: "string", Description: "Access token.", Secret: true},
		{Name: "hosts", Type: "array", Items: "string", Default: raw(`["a","b"]`)},
		{Name: "keys", Type: "array", Items: "string", Secret: true},
		{Name: "retry.max", Type: "integer", Description: "Tries.", Default: raw("3"), Minimum: "0"},
		{Name: "retry.wait", Type: "string", Description: "First wait.", Default: raw(`"1s"`), Format: "go-duration"},
		{Name: "old", Type: "string", Deprecated: true, Instead: "use path"},
		{Name: "code", Type: "string"},
	}
	if diff := cmp.Diff(want, schemaOf[sample](t).Fields(), cmpopts.IgnoreUnexported(config.Field{})); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaOfRefusesMistakes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func() (json.RawMessage, error)
		want string
	}{
		"no name": {config.SchemaOf[struct{ MaxParallel int }], `"max_parallel" would fit`},
		"bad name": {config.SchemaOf[struct {
			A int `json:"Max-P"`
		}], "does not match"},
		"bad default": {config.SchemaOf[struct {
			A int `json:"a" default:"x"`
		}], "not an integer"},
		"default in bound": {config.SchemaOf[struct {
			A int `json:"a" default:"0" min:"1"`
		}], "at least 1"},
		"default in enum": {config.SchemaOf[struct {
			A string `json:"a" default:"x" enum:"y,z"`
		}], "one of y, z"},
		"bad bound": {config.SchemaOf[struct {
			A int `json:"a" min:"one"`
		}], "not a number"},
		"bad example": {config.SchemaOf[struct {
			A string `json:"a" format:"path" example:"x"`
		}], "absolute path"},
		"secret default": {config.SchemaOf[struct {
			A config.Secret `json:"a" default:"x"`
		}], "no default"},
		"bare duration": {config.SchemaOf[struct {
			A time.Duration `json:"a"`
		}], "use config.Duration"},
		"required default": {config.SchemaOf[struct {
			A int `json:"a" default:"1" required:"true"`
		}], "cannot be required"},
		"bad required": {config.SchemaOf[struct {
			A int `json:"a" required:"x"`
		}], "not true or false"},
		"channel": {config.SchemaOf[struct {
			A chan int `json:"a"`
		}], "cannot be an attribute"},
		"bad pattern": {config.SchemaOf[struct {
			A string `json:"a" pattern:"("`
		}], "("},
		"no struct": {config.SchemaOf[int], "is a struct"},
		"itself":    {config.SchemaOf[loop], "holds itself"},
	}
	for name, tt := range tests {
		raw, err := tt.make()
		if err == nil {
			var s *config.Schema
			if s, err = config.Parse(raw); err == nil {
				err = s.Check()
			}
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want an error with %q", name, err, tt.want)
		}
	}
}

type loop struct {
	Next *loop `json:"next"`
}

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  string
		want []string
	}{
		"good":            {`{"path":"/x","region":"us","token":"{{aws.key}}","timeout":"5m","retry":{"max":0}}`, nil},
		"any reference":   {`{"path":"{{site.path}}","region":"{{site.region}}","code":"{{x.y}}"}`, nil},
		"unknown":         {`{"pth":"/x","path":"/x"}`, []string{"pth: no attribute 'pth'; did you mean 'path'?"}},
		"unknown, nested": {`{"path":"/x","retry":{"mx":1}}`, []string{"retry.mx: no attribute 'mx'; did you mean 'max'?"}},
		"missing":         {`{}`, []string{"path: attribute 'path' is missing: Directory of the store."}},
		"wrong types": {`{"path":1,"parallel":"4","fast":"yes","hosts":"a"}`, []string{
			"fast: has to be a boolean, not a string", "hosts: has to be an array, not a string",
			"parallel: has to be an integer, not a string", "path: has to be a string, not a number"}},
		"fraction":         {`{"path":"/x","parallel":1.5}`, []string{"parallel: has to be an integer, not a number"}},
		"bounds":           {`{"path":"/x","parallel":0,"ratio":1.5}`, []string{"parallel: has to be at least 1, not 0", "ratio: has to be at most 1, not 3/2"}},
		"enum":             {`{"path":"/x","region":"usa"}`, []string{"region: has to be one of eu, us, not 'usa'; did you mean 'us'?"}},
		"list":             {`{"path":"/x","hosts":["a",1,"b","c"]}`, []string{"hosts: has to have at most 3 entries, not 4", "hosts[1]: has to be a string, not a number"}},
		"format":           {`{"path":"x","timeout":"soon"}`, []string{`path: has to be an absolute path: "x"`, `timeout: has to be a span of time such as 30s or 1h15m: "soon"`}},
		"pattern":          {`{"path":"/x","code":"A1"}`, []string{`code: does not match ^[a-z]+$: "A1"`}},
		"plain secret":     {`{"path":"/x","token":"hunter2"}`, []string{"token: a secret stands here in plain text"}},
		"secret in a list": {`{"path":"/x","keys":["{{a.b}}","hunter2"]}`, []string{"keys[1]: a secret stands here in plain text"}},
		"deprecated":       {`{"path":"/x","old":"y"}`, []string{"old: is deprecated"}},
		"not an object":    {`[1]`, []string{"the configuration is not a JSON object: json: cannot unmarshal array into Go value of type map[string]interface {}"}},
	}
	s := schemaOf[sample](t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range s.Validate(json.RawMessage(tt.cfg)) {
				got = append(got, d.String())
				if strings.Contains(d.String()+d.Hint, "hunter2") {
					t.Errorf("%v shows the secret", d)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if l := s.Validate(json.RawMessage(`{"path":"/x","old":"y"}`)); l.HasError() || l[0].Hint != "use path" {
		t.Errorf("a deprecated attribute gives %v", l)
	}
}

func TestValidateBySchemasThatAreNotOurs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		schema, cfg string
		want        []string
	}{
		"alternatives": {`"properties":{"a":{"oneOf":[{"type":"string"},{"type":"integer"}]}}`, `{"a":true}`,
			[]string{"a: does not pass 'oneOf' of its schema"}},
		"an alternative":                    {`"properties":{"a":{"oneOf":[{"type":"string"},{"type":"integer"}]}}`, `{"a":1}`, nil},
		"a reference for what is not known": {`"properties":{"a":{"oneOf":[{"format":"x","minLength":99},{"type":"integer"}]}}`, `{"a":"{{b.c}}"}`, nil},
		"a definition, nested": {`"$defs":{"port":{"exclusiveMinimum":1}},"properties":{"a":{"properties":{"port":{"$ref":"#/$defs/port"}}}}`,
			`{"a":{"port":1}}`, []string{"a.port: does not pass 'exclusiveMinimum' of its schema"}},
		"a definition of an object": {`"$defs":{"x":{"properties":{"n":{"const":2}}}},"properties":{"a":{"$ref":"#/$defs/x"}}`,
			`{"a":{"n":3}}`, []string{"a.n: does not pass 'const' of its schema"}},
		"our words for our keywords beside others": {`"anyOf":[{"required":["a"]},{"required":["b"]}],"properties":{"a":{"type":"integer"}},"additionalProperties":false`,
			`{"a":"x","c":1}`, []string{"a: has to be an integer, not a string", "c: no attribute 'c'; did you mean 'a'?"}},
		"conditions of the whole": {`"anyOf":[{"required":["a"]},{"required":["b"]}]`, `{}`, []string{"does not pass 'anyOf' of its schema"}},
		"several types":           {`"properties":{"a":{"type":["integer","null"]}}`, `{"a":"x"}`, []string{"a: does not pass 'type' of its schema"}},
		"null among types":        {`"properties":{"a":{"type":["integer","null"]}}`, `{"a":null}`, nil},
		"names by pattern":        {`"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false`, `{"x1":1}`, nil},
		"no name by pattern":      {`"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false`, `{"y":1}`, []string{"does not pass 'additionalProperties' of its schema"}},
		"enum of objects":         {`"properties":{"a":{"enum":[{"b":1}]}}`, `{"a":{"b":1}}`, nil},
		"enum of null and numbers": {`"properties":{"a":{"enum":[null,1]},"b":{"enum":[null,1]},"c":{"enum":[null,1]}}`, `{"a":null,"b":1.0,"c":{}}`,
			[]string{"c: has to be one of null, 1, not 'an object'"}},
		"length of a list of values": {`"additionalProperties":{"type":"array","minItems":1}`, `{"a":[]}`, []string{"a: has to have at least 1 entries, not 0"}},
		"forms": {`"properties":{"u":{"format":"uri"},"h":{"format":"hostname"},"d":{"format":"date-time"},"i":{"format":"ipv4"},"m":{"format":"email"},"z":{"format":"unheard-of"}}`,
			`{"u":"x","h":"-x","d":"now","i":"::1","m":"A <a@b.c>","z":"x"}`, []string{
				`d: is not a valid date-time: "now"`, `h: is not a valid hostname: "-x"`, `i: is not a valid ipv4: "::1"`,
				`m: is not a valid email: "A <a@b.c>"`, `u: is not a valid uri: "x"`}},
		"forms that fit": {`"properties":{"u":{"format":"uri"},"h":{"format":"hostname"},"d":{"format":"date-time"},"i":{"format":"ipv4"},"m":{"format":"email"}}`,
			`{"u":"s3://b/k","h":"a.Example.org","d":"2026-01-02T03:04:05Z","i":"10.0.0.1","m":"a@b.c"}`, nil},
		"a number beyond reason": {`"properties":{"a":{"type":"number","maximum":1}}`, `{"a":1e99999999}`, []string{"a: is out of range"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := config.Parse(json.RawMessage(`{"type":"object",` + tt.schema + `}`))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range s.Validate(json.RawMessage(tt.cfg)) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckRefusesSchemasThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{
		`"properties":{"a":{"type":"text"}}`, `"properties":{"a":{"minLength":-1}}`, `"properties":{"a":{"maxItems":1.5}}`,
		`"properties":{"a":{"pattern":"("}}`, `"properties":{"a":{"items":{"pattern":"("}}}`, `"additionalProperties":{"pattern":"("}`,
		`"properties":{"a":{"$ref":"#/$defs/none"}}`, `"patternProperties":{"(":{}}`, `"oneOf":3`,
	} {
		s, err := config.Parse(json.RawMessage(`{"type":"object",` + schema + `}`))
		if err == nil {
			err = s.Check()
		}
		if err == nil {
			t.Errorf("%s passes", schema)
		}
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"{{aws.key}}": true, "{{a-b_1.A.b-c_d}}": true, "{{a._}}": true, "{{" + strings.Repeat("a", 63) + ".k}}": true,
		"": false, "{{}}": false, "{{aws}}": false, "{{.key}}": false, "{{aws.}}": false, "{{Aws.key}}": false, "{{-a.key}}": false,
		"{{a..key}}": false, "{{a.-key}}": false, "{{a.k y}}": false, "x{{a.b}}": false, "{{a.b}}x": false, "{{a.b": false, "{{a.b}}\n": false,
		"{{" + strings.Repeat("a", 64) + ".k}}": false, "{{a." + strings.Repeat("k", 129) + "}}": false,
	}
	for text, want := range tests {
		if _, got := config.ParseReference(text); got != want {
			t.Errorf("ParseReference(%q) = %v", text, got)
		}
	}
}

func TestSchemaOfAPluginCannotReadFiles(t *testing.T) {
	t.Parallel()
	s, err := config.Parse(json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"file:///etc/passwd"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	l := s.Validate(json.RawMessage(`{"a":1}`))
	if !l.HasError() || l[0].Fault != diag.FaultPlugin || strings.Contains(l[0].Summary, "root:") {
		t.Errorf("Validate = %v, want a refusal that blames the plugin", l)
	}
}

func TestDefaultsSecretsAndDecode(t *testing.T) {
	t.Parallel()
	s := schemaOf[sample](t)
	cfg, err := s.ApplyDefaults(json.RawMessage(`{"path":"/x","parallel":7,"token":"{{aws.key}}","retry":{"max":0},"keys":["{{b.k.crt}}"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if l := s.Validate(cfg); len(l) > 0 {
		t.Errorf("with its defaults: %v", l)
	}
	refs, err := config.References(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Reference{{Secret: "b", Key: "k.crt", Path: "keys[0]"}, {Secret: "aws", Key: "key", Path: "token"}}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Error(diff)
	}
	resolved, err := config.Resolve(cfg, config.FromMap(map[string]string{"aws.key": `hun"ter2`, "b.k.crt": "pem"}))
	if err != nil {
		t.Fatal(err)
	}
	var got sample
	if err := config.Decode(resolved, &got); err != nil {
		t.Fatal(err)
	}
	if got.Token.Value() != `hun"ter2` || got.Keys[0].Value() != "pem" {
		t.Errorf("the secrets are %q and %q", got.Token.Value(), got.Keys[0].Value())
	}
	if got.Parallel != 7 || got.Region != "eu" || !got.Fast || got.Timeout.Std() != 30*time.Second ||
		got.Retry.Max != 0 || got.Retry.Wait.Std() != time.Second || len(got.Hosts) != 2 {
		t.Errorf("decoded %+v", got)
	}
	out, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", got, got, got, out); strings.Contains(shown, "ter2") || strings.Contains(shown, "pem") {
		t.Errorf("a secret is printed in %s", shown)
	}
	kept := got.Keys[0]
	config.Wipe(&got)
	if got.Token.IsSet() || strings.Contains(kept.Value(), "pem") {
		t.Error("Wipe left a value")
	}
	_, err = config.Resolve(cfg, config.FromMap(nil))
	var e *diag.Error
	if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "keys[0]: ") {
		t.Errorf("Resolve without a value = %v, want the attribute named", err)
	}
}

func TestDefaultsOfAnAbsentObject(t *testing.T) {
	t.Parallel()
	got, err := schemaOf[sample](t).ApplyDefaults(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"fast":true,"hosts":["a","b"],"parallel":4,"region":"eu","retry":{"max":3,"wait":"1s"},"timeout":"30s"}`
	if string(got) != want {
		t.Errorf("ApplyDefaults = %s, want %s", got, want)
	}
}

func TestParseValueAndPut(t *testing.T) {
	t.Parallel()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		field, in string
		want      any // nil for an error
	}{
		{"path", "./elsewhere", filepath.Join(dir, "elsewhere")},
		{"path", "~/x", filepath.Join(home, "x")},
		{"path", "/a/../b", "/b"},
		{"path", "{{a.b}}", "{{a.b}}"},
		{"parallel", "8", int64(8)},
		{"parallel", "many", nil},
		{"ratio", "0.5", 0.5},
		{"ratio", "NaN", nil},
		{"fast", "false", false},
		{"fast", "perhaps", nil},
		{"timeout", "1m", "1m"},
		{"timeout", "1", nil},
		{"hosts", "a, b", []any{"a", "b"}},
		{"hosts", `["a,b"]`, []any{"a,b"}},
		{"hosts", "", []any{}},
		{"hosts", "[", nil},
		{"labels", "a=1,b=x=y", map[string]any{"a": "1", "b": "x=y"}},
		{"labels", "a", nil},
		{"retry.max", "2", int64(2)},
	}
	fields := map[string]config.Field{}
	for _, f := range schemaOf[sample](t).Fields() {
		fields[f.Name] = f
	}
	cfg := map[string]any{}
	for _, tt := range tests {
		got, err := config.ParseValue(fields[tt.field], tt.in)
		if tt.want == nil {
			if diag.CodeOf(err) != diag.Invalid || !strings.HasPrefix(err.Error(), tt.field+": ") {
				t.Errorf("ParseValue(%s, %q) = %v, %v; want an error that names the field", tt.field, tt.in, got, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("ParseValue(%s, %q): %v\n%s", tt.field, tt.in, err, diff)
		}
		config.Put(cfg, fields[tt.field], got)
	}
	if diff := cmp.Diff(map[string]any{"max": int64(2)}, cfg["retry"]); diff != "" {
		t.Error(diff)
	}
}

func FuzzValidate(f *testing.F) {
	raw, err := config.SchemaOf[sample]()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(raw), []byte(`{"path":"/x","token":"{{a.b}}","retry":{"max":1}}`))
	f.Add([]byte(`{"type":"object","properties":{"a":{"oneOf":[{"type":"string"},{"type":"array","items":{"minimum":3}}]},"b":true}}`), []byte(`{"a":[1],"c":null}`))
	f.Fuzz(func(t *testing.T, schema, cfg []byte) {
		s, err := config.Parse(schema)
		if err != nil {
			return
		}
		for _, field := range s.Fields() {
			if v, err := config.ParseValue(field, string(cfg)); err == nil {
				config.Put(map[string]any{}, field, v)
			}
		}
		for _, d := range s.Validate(cfg) {
			if d.Summary == "" {
				t.Errorf("a finding without words: %+v", d)
			}
		}
		if filled, err := s.ApplyDefaults(cfg); err == nil && !json.Valid(filled) {
			t.Errorf("ApplyDefaults gives %s", filled)
		}
		refs, err := config.References(cfg)
		if err != nil {
			return
		}
		if _, err := config.Resolve(cfg, func(config.Reference) (string, error) { return "v", nil }); err != nil {
			t.Errorf("%d references, and Resolve fails: %v", len(refs), err)
		}
	})
}

func BenchmarkParseAndFields(b *testing.B) {
	raw, err := config.SchemaOf[sample]()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := config.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		s.Fields()
	}
}

func BenchmarkFirstValidate(b *testing.B) {
	raw, err := config.SchemaOf[sample]()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := config.Parse(raw)
		if err != nil {
			b.Fatal(err)
		}
		s.Validate(json.RawMessage(`{"path":"/x"}`))
	}
}
