package model

import (
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "0a": true, "a_b.c-9": true, strings.Repeat("a", 63): true,
		"": false, "latest": false, "42": false, "A": false, "-a": false, ".a": false, "_a": false,
		"a b": false, "a/b": false, "\u00e4": false, strings.Repeat("a", 64): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
}
