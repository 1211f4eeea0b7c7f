package main

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cairn-stack/cairn/host/app"
)

// versionView is which cairn this is.
type versionView struct {
	Version string `json:"version"`
	// Go is the version that it was built with; Platform as OS/ARCH.
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Long:    "Say which version this is." + exits(exitInvalid),
		Example: "  cairn version\n  cairn version --output json",
		Args:    needs(),
		RunE: func(*cobra.Command, []string) error {
			v := versionView{app.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return c.show(v, func(p *page) { p.line("cairn %s (%s, %s)", v.Version, v.Go, v.Platform) })
		},
	}
}
