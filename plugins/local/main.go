// Command cairn-plugin-local serves the flavors called local, which need nothing
// but the machine they run on: an orchestrator and an artifact store.
package main

import (
	"github.com/cairn-stack/cairn/sdk/plugin"
)

// version of the plugin.
const version = "0.1.0"

func main() {
	plugin.Serve(plugin.Info{Name: "local", Version: version}, flavors()...)
}

func flavors() []plugin.Flavor {
	return []plugin.Flavor{
		plugin.OrchestratorFlavor("local", "Runs steps on this machine, inside the pipeline program.",
			openOrchestrator, plugin.MachineBound()),
		plugin.ArtifactStoreFlavor("local", "Keeps artifacts as files in a directory of this machine.",
			openStore, plugin.MachineBound()),
	}
}
