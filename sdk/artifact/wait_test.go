package artifact_test

import (
	"runtime"
	"testing"
	"time"
)

// eventually fails unless a condition holds within 10 s.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the condition did not hold within 10 s")
		}
	}
}
