//go:build !linux

package main

import "os"

// renameNew renames a file to a name that must not exist.
func renameNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
