package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkFloor is one commit of one row under the same settings, and a bare
// write with fsync: what BenchmarkApply is to be compared with.
func BenchmarkFloor(b *testing.B) {
	b.Run("commit", func(b *testing.B) {
		s := open(b, Options{})
		for b.Loop() {
			if err := s.SetSetting(context.Background(), "key", "value"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fsync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "f"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 4096)
		for b.Loop() {
			if _, err := f.Write(buf); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
