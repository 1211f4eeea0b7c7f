//go:build !faults

package fault

// Enabled reports whether the points are compiled in.
const Enabled = false

// Hit does nothing.
func Hit(string) error { return nil }
