package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/host/store/storetest"
)

var _ engine.Journal = (*store.Store)(nil)

func TestJournal(t *testing.T) {
	storetest.Run(t, func(t testing.TB, alive func(string) bool) storetest.Opener {
		path := filepath.Join(t.TempDir(), "cairn.db")
		return func(t testing.TB) storetest.Journal {
			t.Helper()
			s, err := store.Open(context.Background(), path, store.Options{Alive: alive})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			return s
		}
	})
}
