package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// traced is a pipeline that was traced and is valid.
type traced struct {
	spec   *stepv1.Pipeline
	byName map[string]*node
}

// trace runs the function of a pipeline with its parameters.
func (p *Pipeline) trace(set *paramSet, steps map[string]stepOptions) (*traced, error) {
	b := &B{byName: map[string]*node{}, defined: map[string]*definition{}}
	if why := badName(p.name); why != "" {
		b.fail(p.where, "pipeline name %q %s", p.name, why)
	}
	if p.build == nil {
		b.fail(p.where, "pipeline '%s' has no function", p.name)
	} else {
		p.build(b, set.value)
	}
	if len(b.errs) == 0 && len(b.nodes) == 0 {
		b.fail(p.where, "it has no steps")
	}
	b.changeSteps(steps)
	ok := len(b.errs) == 0
	for _, n := range b.nodes {
		b.makeOutputs(n)
	}
	if ok {
		for _, n := range b.nodes {
			b.makeInputs(n, set)
		}
	}
	if len(b.errs) > 0 {
		return nil, &diag.Error{
			Code: diag.Invalid, Summary: fmt.Sprintf("pipeline '%s' is not valid", p.name), Findings: b.errs,
			Hint: "nothing has run; mend what is named and start the program again",
		}
	}
	t := &traced{byName: b.byName, spec: &stepv1.Pipeline{
		Name: p.name, Parameters: set.records(), FailureMode: stepv1.FailureMode(p.mode),
	}}
	for _, n := range b.nodes {
		t.spec.Nodes = append(t.spec.Nodes, n.toSpec())
	}
	return t, nil
}

// makeOutputs decides what the outputs of a node are: one, or one for each
// exported field of the result.
func (b *B) makeOutputs(n *node) {
	t := n.def.out
	if t == nil {
		if n.opts.artifact != "" {
			b.fail(n.where, "step '%s' has no result for artifact '%s'", n.name, n.opts.artifact)
		}
		return
	}
	if n.fields || splits(t) {
		b.makeFieldOutputs(n)
		return
	}
	b.addOutput(n, output{name: "output", field: wholeResult, artifact: n.opts.artifact, typ: t}, typeName(t))
}

// splits reports whether a result is several outputs, although nobody refers to
// a field of it: a field of it names its artifact, or cannot stand inside JSON.
func splits(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || isContentType(t) || hasOwnJSON(t) {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if f.Tag.Get("artifact") != "" || isContentType(f.Type) {
			return true
		}
	}
	return false
}

func (b *B) makeFieldOutputs(n *node) {
	if n.opts.artifact != "" {
		b.fail(n.where, "step '%s' has several outputs, and one name for their artifacts; name them by a tag of the field: `artifact:%q`", n.name, n.opts.artifact)
	}
	t := n.def.out
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			b.fail(n.def.where, "field %s of %s, the result of step '%s', is not exported, so it would be lost", f.Name, typeName(t), n.name)
			continue
		}
		b.addOutput(n, output{
			name: kebab(f.Name, "_"), field: i, artifact: f.Tag.Get("artifact"), typ: f.Type,
		}, typeName(t)+"."+f.Name)
	}
}

func (b *B) addOutput(n *node, o output, path string) {
	if o.artifact != "" {
		if why := badName(o.artifact); why != "" {
			b.fail(n.where, "artifact name %q of step '%s' %s", o.artifact, n.name, why)
		}
	}
	for _, other := range n.outputs {
		if other.name == o.name {
			b.fail(n.def.where, "two fields of %s, the result of step '%s', give an output '%s'", typeName(n.def.out), n.name, o.name)
		}
	}
	var err error
	if o.codec, err = codecOf(o.typ, path); err != nil {
		b.fail(n.def.where, "the result of step '%s' cannot be stored: %w", n.name, err)
	}
	n.outputs = append(n.outputs, o)
}

// makeInputs binds a node's arguments to outputs and literals.
func (b *B) makeInputs(n *node, set *paramSet) {
	for i, a := range n.args {
		in := input{name: n.def.inputName(i), arg: i, field: wholeResult, typ: n.def.in[i], from: a.node}
		switch {
		case a.literal:
			b.bindLiteral(n, in, a, set)
		case a.field == wholeResult && len(a.node.outputs) > 0 && a.node.outputs[0].field != wholeResult:
			for _, o := range a.node.outputs {
				part := in
				part.name, part.field, part.typ = in.name+"."+o.name, o.field, o.typ
				part.out, part.codec = o.name, o.codec
				n.inputs = append(n.inputs, part)
			}
		default:
			for _, o := range a.node.outputs {
				if o.field == a.field {
					in.out, in.codec = o.name, o.codec
				}
			}
			n.inputs = append(n.inputs, in)
		}
	}
}

func (b *B) bindLiteral(n *node, in input, a argument, set *paramSet) {
	if isContentType(in.typ) {
		b.fail(n.where, "input '%s' of step '%s' is a literal %s; a literal is recorded as JSON, so make it the result of a step instead, or pass its path", in.name, n.name, typeName(in.typ))
		return
	}
	data, err := literalJSON(a.value)
	if err != nil {
		b.fail(n.where, "input '%s' of step '%s' cannot be recorded: %w", in.name, n.name, err)
		return
	}
	for name, secret := range set.secrets() {
		if secret != "" && bytes.Contains(data, quoted(secret)) {
			b.fail(n.where, "input '%s' of step '%s' holds the secret parameter '%s', which would be recorded; declare a secret with pipeline.Secrets, and ask for it in the step", in.name, n.name, name)
		}
	}
	in.literal = data
	n.inputs = append(n.inputs, in)
}

// quoted is a text as it stands inside a JSON string.
func quoted(s string) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		return []byte(s)
	}
	return data[1 : len(data)-1]
}

func (n *node) toSpec() *stepv1.Node {
	step := &stepv1.Step{
		Function: n.def.function, Secrets: n.opts.secrets, Retry: &stepv1.RetryPolicy{},
	}
	if n.opts.retries != nil {
		step.Retry.MaxRetries = uint32(*n.opts.retries)
		step.Retry.InitialBackoffMs = n.opts.backoff.Milliseconds()
		step.Retry.MaxBackoffMs = n.opts.maxBackoff.Milliseconds()
	}
	if n.opts.timeout != nil {
		step.TimeoutMs = n.opts.timeout.Milliseconds()
	}
	for _, o := range n.outputs {
		step.Outputs = append(step.Outputs, &stepv1.Output{Name: o.name, Type: o.codec.typeOf(o.typ), Artifact: o.artifact})
	}
	out := &stepv1.Node{Name: n.name, Kind: &stepv1.Node_Step{Step: step}}
	for _, in := range n.inputs {
		i := &stepv1.Input{Name: in.name}
		if in.from == nil {
			i.Type = &stepv1.Type{MediaType: mediaJSON, LanguageType: in.typ.String()}
			i.Source = &stepv1.Input_Literal{Literal: in.literal}
		} else {
			i.Type = in.codec.typeOf(in.typ)
			i.Source = &stepv1.Input_Output{Output: &stepv1.OutputRef{Node: in.from.name, Output: in.out}}
		}
		out.Inputs = append(out.Inputs, i)
	}
	for _, a := range n.opts.after {
		out.After = append(out.After, a.stepNode().name)
	}
	return out
}
