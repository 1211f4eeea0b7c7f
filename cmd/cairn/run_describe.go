package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) runDescribe() *cobra.Command {
	return &cobra.Command{
		Use:   "describe [RUN]",
		Short: "Show a run: steps, artifacts, stack, what made it",
		Long: `Show a run: its state, its steps with their attempts and errors, its artifacts, the
stack as it was, what made it, and how to go on with it. The latest where none is
named.` + runReference + exits(exitInvalid, exitNotFound),
		Example: `  cairn run describe latest
  cairn run describe training@latest --output json`,
		Args: needs("[RUN]"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := c.getRun(cmd.Context(), svc, arg(args, 0, "latest"))
			if err != nil {
				return err
			}
			v := runDetailOf(res)
			return c.show(v, func(p *page) { p.run(v, c.now()) })
		},
	}
}

func (p *page) run(v runDetailView, now time.Time) {
	took := ""
	if v.EndedAt != nil || v.State == "running" {
		took = tookText(v.CreatedAt, v.EndedAt, now)
	}
	p.fields(
		field{"Run", p.style.bold(v.Name)}, field{"State", p.style.state(v.State)}, field{"Error", p.style.red(v.Error)},
		field{"Pipeline", v.Pipeline}, field{"Project", v.Project}, field{"Stack", v.Stack}, field{"Labels", mapText(v.Labels)},
		field{"Started", whenText(v.CreatedAt)}, field{"Ended", whenText(v.EndedAt)}, field{"Took", took},
		field{"Steps", v.stepsText()}, field{"Id", v.ID}, field{"Made from", v.ResumedFrom},
		field{"Go on with", p.style.cyan(v.ResumeCommand)})
	p.parameters(v.Parameters)
	p.section("Steps")
	p.steps(v.Steps, now)
	for _, s := range v.Steps {
		p.attempts(s)
	}
	p.artifactsOf(v.Steps)
	p.snapshot(v.Components)
	p.provenance(v)
}

func (p *page) parameters(parameters map[string]parameterView) {
	if len(parameters) == 0 {
		return
	}
	p.section("Parameters")
	var fields []field
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := "***"
		if !parameters[name].Secret {
			value = jsonText(parameters[name].Value)
		}
		fields = append(fields, field{name, value})
	}
	p.fields(fields...)
}

func (p *page) steps(steps []stepView, now time.Time) {
	var rows [][]string
	for _, s := range steps {
		state := p.style.state(s.State)
		if s.Cached {
			state += " (cached)"
		}
		took := ""
		if s.EndedAt != nil || s.State == "running" {
			took = tookText(s.StartedAt, s.EndedAt, now)
		}
		rows = append(rows, []string{p.style.bold(s.Name), state, strconv.Itoa(len(s.Attempts)), took, metricsText(s.Metrics)})
	}
	p.table([]string{"STEP", "STATE", "ATTEMPTS", "TOOK", "METRICS"}, rows)
}

func metricsText(metrics map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		parts = append(parts, name+"="+strconv.FormatFloat(metrics[name], 'g', 6, 64))
	}
	return strings.Join(parts, ", ")
}

// attempts prints those attempts of a step that did not end well.
func (p *page) attempts(s stepView) {
	if s.Error == "" && s.Hint == "" && !slices.ContainsFunc(s.Attempts, func(a attemptView) bool { return a.Error != "" }) {
		return
	}
	p.section("Step " + s.Name)
	p.fields(field{"Error", p.style.red(s.Error)}, field{"Hint", s.Hint})
	for _, a := range s.Attempts {
		text := fmt.Sprintf("attempt %d: %s", a.Number, p.style.state(a.State))
		if a.Error != "" && a.Error != s.Error {
			text += ": " + a.Error
		}
		p.line("%s", text)
		if a.Trace != "" {
			p.line("%s", p.style.dim(indent(a.Trace, "    ")))
		}
	}
}

func (p *page) artifactsOf(steps []stepView) {
	var rows [][]string
	for _, s := range steps {
		for _, o := range s.Outputs {
			if o.Artifact != "" {
				rows = append(rows, []string{p.style.bold(o.Artifact), s.Name, o.Name})
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	p.section("Artifacts")
	p.table([]string{"ARTIFACT", "STEP", "OUTPUT"}, rows)
}

func (p *page) snapshot(components []snapshotView) {
	if len(components) == 0 {
		return
	}
	p.section("Stack as it was")
	var rows [][]string
	for _, x := range components {
		rows = append(rows, []string{
			strings.ToLower(titleOf(x.Type)), x.Name, x.Flavor, strconv.Itoa(int(x.Revision)),
			joinNonEmpty(" ", x.Plugin, x.PluginVersion), digestText(x.PluginDigest),
		})
	}
	p.table([]string{"TYPE", "NAME", "FLAVOR", "REVISION", "PLUGIN", "DIGEST"}, rows)
}

func (p *page) provenance(v runDetailView) {
	if v.Provenance == nil && v.Recipe == nil {
		return
	}
	p.section("What made it")
	if x := v.Provenance; x != nil {
		commit := x.GitCommit
		if commit != "" && x.GitDirty {
			commit += ", with changes not committed"
		}
		p.fields(field{"Commit", commit}, field{"Branch", x.GitBranch}, field{"User", joinNonEmpty("@", x.User, x.Host)},
			field{"Command", shellText(x.CommandLine)}, field{"Versions", strings.ReplaceAll(mapText(x.Versions), ", ", "\n")})
	}
	if x := v.Recipe; x != nil {
		p.fields(field{"Folder", x.WorkingDir}, field{"Go package", x.GoPackage}, field{"Code", digestText(x.CodeDigest)},
			field{"Environment", strings.Join(x.Env, ", ")})
	}
}
