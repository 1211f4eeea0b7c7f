package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// statusView is where everything is, and what runs.
type statusView struct {
	Version     string     `json:"version"`
	Home        string     `json:"home"`
	RuntimeDir  string     `json:"runtime_dir"`
	Project     string     `json:"project"`
	ActiveStack activeView `json:"active_stack"`
	// Hosts are the living hosts on this home.
	Hosts []hostView `json:"hosts"`
	// ActiveRuns are those that are not final, newest first.
	ActiveRuns []runView `json:"active_runs"`
}

// hostView is a living host.
type hostView struct {
	ID      string `json:"id"`
	PID     int64  `json:"pid"`
	Version string `json:"version"`
	// Kind is "embedded" or "server".
	Kind      string     `json:"kind"`
	StartedAt *time.Time `json:"started_at,omitempty"`
}

func hostOf(h *apiv1.HostProcess) hostView {
	return hostView{h.GetId(), h.GetPid(), h.GetVersion(), h.GetKind(), timeOf(h.GetStartedAt())}
}

func (c *cli) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say where everything is, and what runs",
		Long:    "Say where everything is kept, which stack is active, and what runs." + exits(exitInvalid),
		Example: "  cairn status\n  cairn status --output json",
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetStatus(cmd.Context(), &apiv1.GetStatusRequest{Context: c.context()})
			if err != nil {
				return err
			}
			v := statusView{
				Version: res.GetVersion(), Home: res.GetHome(), RuntimeDir: res.GetRuntimeDir(), Project: res.GetProject(),
				ActiveStack: activeOf(res.GetActiveStack()), Hosts: viewsOf(res.GetHosts(), hostOf),
				ActiveRuns: viewsOf(res.GetActiveRuns(), runOf),
			}
			return c.show(v, func(p *page) { p.status(v, c.now()) })
		},
	}
	c.addStackFlag(cmd, "the stack to take as the active one")
	return cmd
}

func (p *page) status(v statusView, now time.Time) {
	p.fields(
		field{"Version", v.Version}, field{"Home", v.Home}, field{"Project", v.Project},
		field{"Active stack", p.style.bold(v.ActiveStack.Name) + " (" + v.ActiveStack.reason() + ")"})
	if len(v.Hosts) > 0 {
		p.section("Hosts")
		var rows [][]string
		for _, h := range v.Hosts {
			rows = append(rows, []string{fmt.Sprint(h.PID), h.Kind, h.Version, whenText(h.StartedAt)})
		}
		p.table([]string{"PID", "KIND", "VERSION", "STARTED"}, rows)
	}
	if len(v.ActiveRuns) > 0 {
		p.section("Runs that are not over")
		p.runs(v.ActiveRuns, now)
	}
}
