package main

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when a file, or its names, last changed: a link made just now of an
// old file is not old.
func changed(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}
