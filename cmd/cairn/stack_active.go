package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func (c *cli) stackSet() *cobra.Command {
	var project bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a stack the active one",
		Long: `Make a stack the active one: in a project, your choice for that project; else
your choice everywhere. With --project it is written into .cairn/project.yaml,
for everybody who works on the project. --stack and CAIRN_STACK come before both.` + exits(exitInvalid, exitNotFound, exitRefused),
		Example: `  cairn stack set my_stack
  cairn stack set my_stack --project`,
		Args: needs("NAME"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.SetActiveStack(cmd.Context(), &apiv1.SetActiveStackRequest{
				Name: args[0], Context: c.context(), ProjectPin: project,
			})
			if err != nil {
				return err
			}
			v := activeOf(res.GetActive())
			if v.Name != args[0] && c.format == formatTable {
				c.note("Set %s; but %s is active, decided by %s.", args[0], v.Name, v.reason())
				return nil
			}
			return c.done(v, "Active stack: %s (%s).", v.Name, v.reason())
		},
	}
	cmd.Flags().BoolVar(&project, "project", false, "write the project's pin instead of your own choice")
	return cmd
}

func (c *cli) stackGet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Say which stack is active, and what decided it",
		Long: `Say which stack is active, and what decided it. In this order: --stack,
CAIRN_STACK, your choice for the project, the project's pin, your choice
everywhere, and the stack 'default'.` + exits(exitInvalid, exitNotFound),
		Example: `  cairn stack get
  cairn stack get --output json`,
		Args: needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetActiveStack(cmd.Context(), &apiv1.GetActiveStackRequest{Context: c.context()})
			if err != nil {
				return err
			}
			v := activeOf(res.GetActive())
			return c.show(v, func(p *page) {
				p.fields(field{"Active stack", p.style.bold(v.Name)}, field{"Decided by", v.reason()})
			})
		},
	}
	c.addStackFlag(cmd, "the stack to take as the active one")
	return cmd
}

// validationView is what came of asking a stack.
type validationView struct {
	Stack      string       `json:"stack"`
	OK         bool         `json:"ok"`
	Components []reportView `json:"components"`
}

// reportView is what came of asking one component.
type reportView struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Flavor string `json:"flavor"`
	// State is "ok", "degraded" or "failed".
	State    string        `json:"state"`
	Findings []findingView `json:"findings"`
	// LatencyMS is how long the backend took to answer; absent where it was not
	// asked.
	LatencyMS float64 `json:"latency_ms,omitempty"`
}

// reportOf makes the view. Without a check of the backends no time stands in it,
// since what was measured then is the plugin's own.
func reportOf(r *apiv1.ComponentReport) reportView {
	return reportView{
		Type: r.GetType(), Name: r.GetName(), Flavor: r.GetFlavor(), State: r.GetState(),
		Findings: viewsOf(r.GetFindings(), findingOf),
	}
}

func findingOf(f *apiv1.Finding) findingView {
	return findingView{f.GetSeverity(), f.GetSummary(), f.GetDetail(), f.GetPath(), f.GetFault(), f.GetHint()}
}

func (c *cli) stackValidate() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "validate [NAME]",
		Short: "Ask a stack's components whether they can be used",
		Long: `Ask a stack's components whether they can be used as they are configured: what is
asked before every run. With --check the backends behind them are asked too. The
active stack where no name is given.` + exits("2 a component cannot be used as it is configured", exitNotFound, exitPlugin),
		Example: `  cairn stack validate
  cairn stack validate my_stack --check`,
		Args: needs("[NAME]"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ValidateStack(cmd.Context(), &apiv1.ValidateStackRequest{
				Name: arg(args, 0, ""), Check: check, Context: c.context(),
			})
			if err != nil {
				return err
			}
			v := validationView{Stack: res.GetStack(), OK: res.GetOk(), Components: viewsOf(res.GetComponents(), reportOf)}
			for i, r := range res.GetComponents() {
				if check {
					v.Components[i].LatencyMS = float64(r.GetLatencyUs()) / 1000
				}
			}
			if err := c.show(v, func(p *page) { p.validation(v) }); err != nil {
				return err
			}
			return v.failure()
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "ask the backends too")
	c.addStackFlag(cmd, "the stack to take as the active one")
	return cmd
}

func (p *page) validation(v validationView) {
	header := []string{"TYPE", "COMPONENT", "FLAVOR", "STATE"}
	timed := slices.ContainsFunc(v.Components, func(r reportView) bool { return r.LatencyMS > 0 })
	if timed {
		header = append(header, "ANSWERED IN")
	}
	var rows [][]string
	for _, r := range v.Components {
		row := []string{r.Type, p.style.bold(r.Name), r.Flavor, p.style.state(r.State)}
		if timed {
			row = append(row, latency(r.LatencyMS))
		}
		rows = append(rows, row)
	}
	p.table(header, rows)
	for _, r := range v.Components {
		if len(r.Findings) == 0 {
			continue
		}
		p.section(titleOf(r.Type) + " " + r.Name)
		for _, f := range r.Findings {
			printFinding(&p.b, f, p.style)
		}
	}
	if v.OK {
		p.line("\nStack %s can be used.", p.style.bold(v.Stack))
	}
}

// latency is a time of so many milliseconds as text; nothing for 0.
func latency(ms float64) string {
	if ms == 0 {
		return ""
	}
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond).String()
}

// failure is the error of a stack that cannot be used; its findings were shown.
func (v validationView) failure() error {
	if v.OK {
		return nil
	}
	code := diag.Invalid
	for _, r := range v.Components {
		for _, f := range r.Findings {
			if f.Severity == string(diag.SeverityError) && (f.Fault == string(diag.FaultBackend) || f.Fault == string(diag.FaultPlugin)) {
				code = diag.Plugin
			}
		}
	}
	return diag.Errorf(code, "stack '%s' cannot be used as it stands", v.Stack)
}
