package main

import "testing"

// BenchmarkCommandTree is what each start pays for all the commands.
func BenchmarkCommandTree(b *testing.B) {
	for b.Loop() {
		(&cli{}).newRoot()
	}
}
