//go:build !linux && !darwin

package home

// networkFileSystem knows nothing on this system.
func networkFileSystem(string) string { return "" }
