// Package e2e tests cairn as people have it: built binaries, real processes,
// and a pipeline program on top. Everything here goes through the command and
// the SDK; nothing reaches inside.
package e2e
