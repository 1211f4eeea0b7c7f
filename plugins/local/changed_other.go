//go:build !linux

package main

import (
	"io/fs"
	"time"
)

// changed is when a file last changed.
func changed(info fs.FileInfo) time.Time { return info.ModTime() }
