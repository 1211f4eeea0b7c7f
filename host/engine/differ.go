package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
)

func compareParameters(was, is map[string]model.Parameter, add func(path, format string, args ...any)) {
	names := slices.Collect(maps.Keys(was))
	for name := range is {
		if _, ok := was[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		old, had := was[name]
		now, has := is[name]
		switch {
		case !had:
			add("parameter "+name, "it is new")
		case !has:
			add("parameter "+name, "it is gone")
		case same(old, now):
		case old.Secret || now.Secret:
			add("parameter "+name, "its value is another")
		default:
			add("parameter "+name, "it was %s and is %s", old.Value, now.Value)
		}
	}
}

func compareNodes(was, is []model.Node, add func(path, format string, args ...any)) {
	nodes := make(map[string]model.Node, len(is))
	for _, n := range is {
		nodes[n.Name] = n
	}
	code := 0
	for _, old := range was {
		now, ok := nodes[old.Name]
		delete(nodes, old.Name)
		switch {
		case !ok:
			add("step "+old.Name, "it is gone")
			continue
		case old.Step == nil || now.Step == nil:
			continue
		}
		if !same(old.Inputs, now.Inputs) || !same(old.After, now.After) {
			compareInputs(old, now, add)
		}
		a, b := *old.Step, *now.Step
		if a.CodeKey != b.CodeKey {
			code++
		}
		a.CodeKey, b.CodeKey = "", ""
		if !same(a, b) {
			add("step "+old.Name, "its function, outputs or options are others")
		}
	}
	for _, n := range is {
		if _, left := nodes[n.Name]; left {
			add("step "+n.Name, "it is new")
		}
	}
	if code > 0 {
		add("code", "the program was built from other code (%d of %d steps)", code, len(was))
	}
}

func same(a, b any) bool { return compact(a) == compact(b) }

// compareInputs names each input that is another.
func compareInputs(old, now model.Node, add func(path, format string, args ...any)) {
	inputs := make(map[string]model.Input, len(now.Inputs))
	for _, in := range now.Inputs {
		inputs[in.Name] = in
	}
	var changed []string
	for _, in := range old.Inputs {
		is := inputs[in.Name]
		delete(inputs, in.Name)
		if !same(in, is) {
			changed = append(changed, fmt.Sprintf("%s was %s and is %s", in.Name, inputText(in), inputText(is)))
		}
	}
	for _, in := range now.Inputs {
		if _, added := inputs[in.Name]; added {
			changed = append(changed, fmt.Sprintf("%s was nothing and is %s", in.Name, inputText(in)))
		}
	}
	if len(changed) == 0 {
		changed = append(changed, "what it waits for, or their order")
	}
	add("step "+old.Name, "its inputs are others: %s", strings.Join(changed, ", "))
}

// longestLiteral is how much of a value an input's text shows, in bytes.
const longestLiteral = 60

func inputText(in model.Input) string {
	switch {
	case in.Node != "":
		return in.Node + "." + in.Output
	case in.Name == "":
		return "nothing"
	case len(in.Literal) > longestLiteral:
		return "a value of " + strconv.Itoa(len(in.Literal)) + " bytes"
	}
	return string(in.Literal)
}

func compact(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
