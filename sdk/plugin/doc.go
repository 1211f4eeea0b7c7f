// Package plugin is what a plugin author needs: a flavor is a config struct, a
// type with a few methods, and one line in a list.
//
//	func main() {
//		plugin.Serve(plugin.Info{Name: "acme", Version: "1.0.0"},
//			plugin.ArtifactStoreFlavor("acme", "Objects in an Acme vault.", openVault),
//		)
//	}
//
// Start with ArtifactStoreFlavor or OrchestratorFlavor, whose examples are whole
// flavors. Each component type has one small interface that must be implemented,
// and interfaces of one method each for what is optional: the package finds out
// which of them a flavor's type has, and tells the host.
//
// The package does what all flavors need: it reads and checks the configuration,
// puts the values of secrets in place, keeps to the paths that host and plugin
// agreed on, runs batches side by side, reports progress, ends calls that were
// cancelled, turns panics into errors, and ends the process with the host.
//
// # Errors
//
// Return a *diag.PluginError, or wrap one of diag's reasons:
//
//	return fmt.Errorf("bucket %s: %w", name, diag.ErrPermissionDenied)
//
// Errors of the operating system are understood (no space left is exhausted, and
// so on). Any other error counts as the plugin's own fault.
//
// # Logging
//
// Log with the Instance's Logger. Standard output belongs to the handshake.
package plugin
