package pipeline

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// B is a pipeline while it is traced: steps are added to it by their Do. It
// belongs to the function that New was given, and is not safe for concurrent
// use.
type B struct {
	nodes   []*node
	byName  map[string]*node
	defined map[string]*definition
	errs    diag.List
}

// Fail makes the pipeline invalid, such as for parameters that do not go
// together. All errors of a trace are reported together, and nothing runs.
func (b *B) Fail(err error) {
	if err != nil {
		b.fail(caller(1), "%w", err)
	}
}

func (b *B) fail(where, format string, args ...any) {
	b.errs = append(b.errs, diag.Diagnostic{
		Severity: diag.SeverityError, Fault: diag.FaultUser,
		Path: where, Summary: fmt.Errorf(format, args...).Error(),
	})
}

// node is a step that stands in the pipeline.
type node struct {
	b     *B
	def   *definition
	name  string
	args  []argument
	opts  nodeOptions
	where string
	// fields: somebody refers to a field of the result.
	fields bool
	// outputs and inputs are made when the trace is over.
	outputs []output
	inputs  []input
}

// output is one output of a node: the whole result, or a field of it.
type output struct {
	name     string
	field    int
	artifact string
	typ      reflect.Type
	codec    codec
}

// input is one input of a node: an argument, or a field of one where the
// argument is a whole result of several outputs.
type input struct {
	name  string
	arg   int
	field int
	typ   reflect.Type
	codec codec
	from  *node
	out   string
	// literal is JSON, for an input that comes from no node.
	literal []byte
}

// Option changes one step of a pipeline.
type Option func(*nodeOptions)

type nodeOptions struct {
	retries    *int
	backoff    time.Duration
	maxBackoff time.Duration
	timeout    *time.Duration
	after      []Node
	secrets    []string
	artifact   string
}

// Retries runs the step again, at most n times, when it fails. The first wait
// is backoff[0], or 1 s; it doubles each time, up to backoff[1], or 60 s.
// Permanent errors are not tried again.
func Retries(n int, backoff ...time.Duration) Option {
	return func(o *nodeOptions) {
		o.retries = &n
		if len(backoff) > 0 {
			o.backoff = backoff[0]
		}
		if len(backoff) > 1 {
			o.maxBackoff = backoff[1]
		}
	}
}

// Timeout ends an attempt of the step that takes longer: its context is
// cancelled, and the attempt has failed.
func Timeout(d time.Duration) Option {
	return func(o *nodeOptions) { o.timeout = &d }
}

// After makes the step wait for the good end of others whose results it does
// not use.
func After(nodes ...Node) Option {
	return func(o *nodeOptions) { o.after = append(o.after, nodes...) }
}

// Secrets lets the step ask for these secrets: see StepContext.Secret.
func Secrets(names ...string) Option {
	return func(o *nodeOptions) { o.secrets = append(o.secrets, names...) }
}

// Artifact names the artifact that the step's result becomes; without it, it is
// STEP.output. Where the result is several outputs, give the fields a tag
// instead: artifact:"model".
func Artifact(name string) Option {
	return func(o *nodeOptions) { o.artifact = name }
}

// add is what every Do does.
func (b *B) add(d *definition, options []Option, args ...argument) *node {
	where := caller(2)
	n := &node{b: b, def: d, args: args, where: where}
	if d == nil {
		b.fail(where, "the step was not made by pipeline.Fn or pipeline.Proc")
		return n
	}
	n.name = d.name
	for _, o := range options {
		if o != nil {
			o(&n.opts)
		}
	}
	b.checkDefinition(n)
	b.checkOptions(n)
	for i, a := range args {
		b.checkArgument(n, i, a)
	}
	for _, a := range n.opts.after {
		if a == nil || a.stepNode() == nil {
			b.refer(where, nil, "After of step '%s' refers to no step", n.name)
			continue
		}
		b.refer(where, a.stepNode(), "After of step '%s' refers to a step of another pipeline", n.name)
	}
	if first := b.byName[n.name]; first != nil {
		b.fail(where, "step '%s' stands there twice; the first is at %s; give one of them another name: .Named(%q)", n.name, first.where, n.name+"-2")
		return n
	}
	b.byName[n.name] = n
	b.nodes = append(b.nodes, n)
	return n
}

func (b *B) checkDefinition(n *node) {
	d := n.def
	if why := badName(d.name); why != "" {
		b.fail(d.where, "step name %q %s", d.name, why)
	} else if why := badName(d.function); why != "" {
		b.fail(d.where, "step name %q %s", d.function, why)
	}
	if d.missing {
		b.fail(d.where, "step '%s' has no function", d.name)
	}
	if len(d.names) > len(d.in) {
		b.fail(d.where, "step '%s' has %d inputs, and %d names for them", d.name, len(d.in), len(d.names))
	}
	seen := map[string]bool{}
	for i := range d.in {
		name := d.inputName(i)
		if why := badName(name); why != "" {
			b.fail(d.where, "input name %q of step '%s' %s", name, d.name, why)
		}
		if seen[name] {
			b.fail(d.where, "step '%s' has two inputs called '%s'", d.name, name)
		}
		seen[name] = true
	}
	switch first := b.defined[d.function]; {
	case first == nil:
		b.defined[d.function] = d
	case first.where != d.where:
		b.fail(n.where, "two steps are defined as '%s', at %s and at %s; give one of them another name", d.function, first.where, d.where)
	}
}

func (b *B) checkOptions(n *node) {
	o := n.opts
	if o.retries != nil && (*o.retries < 0 || *o.retries > maxRetries) {
		b.fail(n.where, "step '%s' has %d retries; 0 to %d are possible", n.name, *o.retries, maxRetries)
	}
	if o.backoff < 0 || o.maxBackoff < 0 || o.maxBackoff > 0 && o.maxBackoff < o.backoff {
		b.fail(n.where, "step '%s' waits %s before a retry, and at most %s; the first must be the shorter", n.name, o.backoff, o.maxBackoff)
	}
	if o.timeout != nil && *o.timeout < time.Millisecond {
		b.fail(n.where, "step '%s' has a timeout of %s; it must be a millisecond or more", n.name, *o.timeout)
	}
}

// maxRetries bounds the retries of a step.
const maxRetries = 1000

// changeSteps applies what the configuration file says of steps.
func (b *B) changeSteps(steps map[string]stepOptions) {
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		n := b.byName[name]
		if n == nil {
			b.fail("steps", "no step '%s'%s", name, diag.DidYouMean(name, slices.Collect(maps.Keys(b.byName))))
			continue
		}
		s := steps[name]
		if s.retries != nil {
			n.opts.retries = s.retries
		}
		if s.backoff != nil {
			n.opts.backoff = *s.backoff
		}
		if s.maxBackoff != nil {
			n.opts.maxBackoff = *s.maxBackoff
		}
		if s.timeout != nil {
			n.opts.timeout = s.timeout
		}
		b.checkOptions(n)
	}
}

func (b *B) checkArgument(n *node, i int, a argument) {
	if a.literal {
		return
	}
	name := n.def.inputName(i)
	if a.node == nil {
		b.refer(n.where, nil, "input '%s' of step '%s' refers to no step", name, n.name)
		return
	}
	b.refer(n.where, a.node, "input '%s' of step '%s' refers to a step of another pipeline", name, n.name)
}

// refer checks that a node is one of this pipeline. A reference to none often
// comes from an error that has been told already.
func (b *B) refer(where string, to *node, format string, args ...any) {
	if to == nil && len(b.errs) > 0 || to != nil && to.b == b {
		return
	}
	b.fail(where, format, args...)
}

// badName says why a name cannot be one; empty where it can.
func badName(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > 63 {
		return "is longer than 63 characters"
	}
	digits := true
	for i, c := range []byte(name) {
		letter, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !letter && !digit && (i == 0 || !strings.ContainsRune("_.-", rune(c))) {
			return fmt.Sprintf("is not a name: %q cannot stand there; use a-z, 0-9, and after the first character _ . -", name[i:i+1])
		}
		digits = digits && digit
	}
	if digits {
		return "is not a name: it has only digits"
	}
	if name == "latest" {
		return "is not a name: 'latest' is a reference"
	}
	return ""
}

// kebab gives a Go name as words in lower case: TrainSize as train-size.
func kebab(name, sep string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 {
			prev := runes[i-1]
			next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(prev) || unicode.IsDigit(prev) || unicode.IsUpper(prev) && next {
				b.WriteString(sep)
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "nothing"
	}
	return t.String()
}
