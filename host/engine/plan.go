package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// SpecDigest is the digest of a spec: of its JSON. Two specs of one digest are
// the same pipeline with the same code and parameters.
func SpecDigest(spec model.Spec) (string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return "", diag.Errorf(diag.Invalid, "pipeline '%s' cannot be written as JSON: %w", spec.Pipeline, err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Validate reports everything that is wrong with a spec in itself: names, the
// graph, references. The error is a *diag.Error with a finding for each point.
func Validate(spec model.Spec) error {
	_, err := newPlan(spec)
	return err
}

// plan is a valid spec with its graph. Nodes are numbered as in the spec.
type plan struct {
	spec  model.Spec
	index map[string]int
	// needs and feeds are the edges in both directions: inputs and order-only.
	needs, feeds [][]int
	// order is topological; among nodes that are ready, that of the spec.
	order []int
}

func newPlan(spec model.Spec) (*plan, error) {
	p := &plan{spec: spec, index: make(map[string]int, len(spec.Nodes))}
	findings := p.checkNames()
	if !findings.HasError() {
		findings = append(findings, p.checkReferences()...)
	}
	if !findings.HasError() {
		p.link()
		if cycle := p.sort(); cycle != nil {
			findings = append(findings, finding(cycle[0],
				"the steps wait for each other: "+strings.Join(append(cycle, cycle[0]), " needs "),
				"Take one of these connections out."))
		}
	}
	if findings.HasError() {
		return nil, &diag.Error{
			Code:     diag.Invalid,
			Summary:  fmt.Sprintf("pipeline '%s' is not valid", spec.Pipeline),
			Findings: findings,
		}
	}
	return p, nil
}

func finding(path, summary, hint string) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.SeverityError, Path: path, Summary: summary, Hint: hint, Fault: diag.FaultUser}
}

// checkNames looks at everything that needs no other node, and fills index.
func (p *plan) checkNames() diag.List {
	var found diag.List
	if !model.ValidName(p.spec.Pipeline) {
		found = append(found, finding("pipeline", fmt.Sprintf("'%s' cannot name a pipeline", p.spec.Pipeline), model.NameRule))
	}
	switch p.spec.FailureMode {
	case "", model.FailFast, model.StopOnFailure, model.Continue:
	default:
		found = append(found, finding("failure_mode", fmt.Sprintf("there is no failure mode '%s'", p.spec.FailureMode),
			"The modes are fail_fast, stop_on_failure and continue."))
	}
	if len(p.spec.Nodes) == 0 {
		found = append(found, finding("pipeline", "it has no steps", "Add a step to the pipeline."))
	}
	for i, n := range p.spec.Nodes {
		if !model.ValidName(n.Name) {
			found = append(found, finding(fmt.Sprintf("step %d", i+1), fmt.Sprintf("'%s' cannot name a step", n.Name), model.NameRule))
			continue
		}
		if _, taken := p.index[n.Name]; taken {
			found = append(found, finding(n.Name, "two steps have this name", "Give one of them a name of its own."))
			continue
		}
		p.index[n.Name] = i
		found = append(found, checkNode(n)...)
	}
	return found
}

func checkNode(n model.Node) diag.List {
	var found diag.List
	if n.Kind != model.NodeStep || n.Step == nil {
		return diag.List{finding(n.Name, fmt.Sprintf("this cairn cannot run a node of kind '%s'", n.Kind), "Update cairn, or use steps alone.")}
	}
	s := n.Step
	if s.Function == "" {
		found = append(found, finding(n.Name, "it names no function", ""))
	}
	if s.Retry.MaxRetries < 0 || s.Retry.InitialBackoff < 0 || s.Retry.MaxBackoff < 0 {
		found = append(found, finding(n.Name+".retry", "retries and waits cannot be negative", ""))
	}
	if s.Timeout < 0 {
		found = append(found, finding(n.Name+".timeout", "a timeout cannot be negative", ""))
	}
	switch s.Execution {
	case "", model.Attached:
	default:
		found = append(found, finding(n.Name, fmt.Sprintf("this cairn cannot run a step '%s'", s.Execution), "Run it attached, in the pipeline program."))
	}
	outputs := map[string]bool{}
	for _, o := range s.Outputs {
		if !model.ValidName(o.Name) {
			found = append(found, finding(n.Name, fmt.Sprintf("'%s' cannot name an output", o.Name), model.NameRule))
		}
		if outputs[o.Name] {
			found = append(found, finding(n.Name, fmt.Sprintf("two outputs are called '%s'", o.Name), ""))
		}
		outputs[o.Name] = true
		if o.Artifact != "" && !model.ValidName(o.Artifact) {
			found = append(found, finding(n.Name+"."+o.Name, fmt.Sprintf("'%s' cannot name an artifact", o.Artifact), model.NameRule))
		}
	}
	inputs := map[string]bool{}
	for _, in := range n.Inputs {
		if inputs[in.Name] || in.Name == "" {
			found = append(found, finding(n.Name, fmt.Sprintf("input '%s': an input needs a name of its own", in.Name), ""))
		}
		inputs[in.Name] = true
	}
	return found
}

// checkReferences looks at what nodes say of each other.
func (p *plan) checkReferences() diag.List {
	var found diag.List
	names := make([]string, 0, len(p.spec.Nodes))
	for _, n := range p.spec.Nodes {
		names = append(names, n.Name)
	}
	for _, n := range p.spec.Nodes {
		for _, in := range n.Inputs {
			if in.Node == "" {
				if in.Literal == nil {
					found = append(found, finding(n.Name+"."+in.Name, "the input has neither a source nor a value", ""))
				}
				continue
			}
			from, ok := p.index[in.Node]
			if !ok {
				found = append(found, finding(n.Name+"."+in.Name,
					fmt.Sprintf("there is no step '%s'%s", in.Node, diag.DidYouMean(in.Node, names)), ""))
				continue
			}
			var outputs []string
			for _, o := range p.spec.Nodes[from].Step.Outputs {
				outputs = append(outputs, o.Name)
			}
			if !slices.Contains(outputs, in.Output) {
				found = append(found, finding(n.Name+"."+in.Name,
					fmt.Sprintf("step '%s' has no output '%s'%s", in.Node, in.Output, diag.DidYouMean(in.Output, outputs)), ""))
			}
		}
		for _, a := range n.After {
			if _, ok := p.index[a]; !ok {
				found = append(found, finding(n.Name+".after",
					fmt.Sprintf("there is no step '%s'%s", a, diag.DidYouMean(a, names)), ""))
			}
		}
	}
	return found
}

// link fills the edges, each once.
func (p *plan) link() {
	p.needs = make([][]int, len(p.spec.Nodes))
	p.feeds = make([][]int, len(p.spec.Nodes))
	for i, n := range p.spec.Nodes {
		seen := map[int]bool{}
		add := func(name string) {
			j := p.index[name]
			if seen[j] {
				return
			}
			seen[j] = true
			p.needs[i] = append(p.needs[i], j)
			p.feeds[j] = append(p.feeds[j], i)
		}
		for _, in := range n.Inputs {
			if in.Node != "" {
				add(in.Node)
			}
		}
		for _, a := range n.After {
			add(a)
		}
	}
}

// sort fills order, or gives the names of a cycle, each of which needs the next.
func (p *plan) sort() []string {
	open := make([]int, len(p.needs))
	var ready []int
	for i, needs := range p.needs {
		if open[i] = len(needs); open[i] == 0 {
			ready = append(ready, i)
		}
	}
	p.order = make([]int, 0, len(p.needs))
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		p.order = append(p.order, i)
		for _, j := range p.feeds[i] {
			if open[j]--; open[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if len(p.order) == len(p.needs) {
		return nil
	}
	return p.cycle(open)
}

// cycle walks backwards among the nodes that sort could not place; each of them
// needs another of them, so the walk comes back to a node.
func (p *plan) cycle(open []int) []string {
	at := slices.IndexFunc(open, func(n int) bool { return n > 0 })
	seen := map[int]int{}
	var path []int
	for {
		if from, ok := seen[at]; ok {
			path = path[from:]
			break
		}
		seen[at] = len(path)
		path = append(path, at)
		next := slices.IndexFunc(p.needs[at], func(j int) bool { return open[j] > 0 })
		at = p.needs[at][next]
	}
	names := make([]string, len(path))
	for i, j := range path {
		names[i] = p.spec.Nodes[j].Name
	}
	return names
}

// descendants are the nodes that need i, directly or through others.
func (p *plan) descendants(i int) []int {
	seen := make([]bool, len(p.needs))
	var found []int
	queue := slices.Clone(p.feeds[i])
	for len(queue) > 0 {
		j := queue[0]
		queue = queue[1:]
		if seen[j] {
			continue
		}
		seen[j] = true
		found = append(found, j)
		queue = append(queue, p.feeds[j]...)
	}
	slices.Sort(found)
	return found
}
