package engine

import (
	"encoding/json"
	"maps"
	"slices"

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
			add("step "+old.Name, "its inputs are others: they were %s and are %s", compact(old.Inputs), compact(now.Inputs))
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

func compact(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
