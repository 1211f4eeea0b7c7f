package pipeline

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

func printPipelines(w io.Writer, argv0 string, pipelines []*Pipeline) {
	fmt.Fprintf(w, "Usage: %s PIPELINE [flags]\n\nPipelines:\n", filepath.Base(argv0))
	for _, q := range pipelines {
		fmt.Fprintf(w, "  %s\n", q.name)
	}
	fmt.Fprintf(w, "\n'%s PIPELINE --help' shows the flags of one.\n", filepath.Base(argv0))
}

// printHelp shows the flags of a pipeline, with their defaults.
func printHelp(w io.Writer, argv0 string, several bool, o *options) {
	program := filepath.Base(argv0)
	if several {
		program += " " + o.pipeline.name
	}
	fmt.Fprintf(w, "Run the pipeline '%s' on the active stack.\n\nUsage: %s [flags]\n", o.pipeline.name, program)
	if len(o.params.params) > 0 {
		fmt.Fprint(w, "\nParameters:\n")
		var rows [][2]string
		for _, q := range o.params.params {
			rows = append(rows, [2]string{q.usage(), q.description()})
		}
		printColumns(w, rows)
	}
	fmt.Fprint(w, "\nFlags of every pipeline program:\n")
	printColumns(w, [][2]string{
		{"--stack NAME", "run on this stack instead of the active one (or CAIRN_STACK)"},
		{"--config FILE", "YAML with stack, name, labels, parameters and options of steps"},
		{"--name NAME", "name of the run; without it, " + o.pipeline.name + "-1 and so on"},
		{"--label KEY=VALUE", "label of the run; may be repeated"},
		{"--resume RUN", "go on with a run that failed, was cancelled or interrupted (or CAIRN_RESUME)"},
		{"-h, --help", "show this"},
	})
	fmt.Fprintf(w, "\nExamples:\n  %s\n", program)
	for _, q := range o.params.params {
		if !q.secret {
			value := q.text()
			if value == "" {
				value = "VALUE"
			}
			fmt.Fprintf(w, "  %s --%s=%s --label team=vision\n", program, q.name, value)
			break
		}
	}
	fmt.Fprintf(w, "  %s --stack my_stack\n  %s --resume %s@latest\n", program, program, o.pipeline.name)
}

func (p *param) usage() string {
	if p.secret {
		return p.variable() + " (environment)"
	}
	kind, _ := kindName(p.value.Type())
	if len(p.enum) > 0 {
		kind = strings.Join(p.enum, "|")
	}
	if kind == "bool" {
		return "--" + p.name
	}
	return "--" + p.name + " " + strings.ToUpper(strings.ReplaceAll(kind, "list of ", ""))
}

func (p *param) description() string {
	text := p.help
	var notes []string
	switch {
	case p.required:
		notes = append(notes, "required")
	case p.secret:
		notes = append(notes, "secret")
	case p.fallback != "":
		notes = append(notes, "default "+p.fallback)
	}
	if kind, _ := kindName(p.value.Type()); strings.HasPrefix(kind, "list") {
		notes = append(notes, "separated by commas")
	}
	if b := p.bounds(); b != "" {
		notes = append(notes, b)
	}
	if len(notes) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Join(notes, "; ") + ")")
	}
	return text
}

func printColumns(w io.Writer, rows [][2]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  %s\n", strings.TrimRight(fmt.Sprintf("%-*s  %s", width, r[0], r[1]), " "))
	}
}
