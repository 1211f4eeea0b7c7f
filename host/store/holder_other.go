//go:build !linux

package store

// lockHolder knows nothing on this system.
func lockHolder(string) (pid int, name string) { return 0, "" }
