package diag

import "testing"

func TestNearMissesKnowsSwappedLetters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
	}{
		{"raito", "; did you mean 'ratio'?"},
		{"stakc", "; did you mean 'stack'?"},
		{"tsack", "; did you mean 'stack'?"},
		{"sytes", ""},
	} {
		if got := DidYouMean(c.name, []string{"ratio", "stack", "bytes"}[:2]); got != c.want {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
}
