package diag

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// NearMisses gives those of candidates that name was probably meant to be,
// best first, at most three.
func NearMisses(name string, candidates []string) []string {
	type scored struct {
		name string
		d    int
	}
	var found []scored
	lower := strings.ToLower(name)
	for _, c := range candidates {
		lc := strings.ToLower(c)
		d := levenshtein.ComputeDistance(lower, lc)
		if d == 2 && swapped(lower, lc) {
			d = 1
		}
		near := d <= max(1, len(lc)/3)
		if !near && len(lower) >= 3 && (strings.HasPrefix(lc, lower) || strings.HasPrefix(lower, lc)) {
			near = true
		}
		if near && c != "" {
			found = append(found, scored{c, d})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int { return a.d - b.d })
	names := make([]string, 0, 3)
	for _, f := range found {
		if len(names) == 3 {
			break
		}
		names = append(names, f.name)
	}
	return names
}

// swapped reports whether two texts differ by two neighbours that changed
// places, the commonest slip of all.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) - 1 {
		if a[i] != b[i] {
			return a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
		}
	}
	return false
}

// DidYouMean is NearMisses as the end of a sentence, such as
// "; did you mean 'prod-eu'?"; empty where nothing is near.
func DidYouMean(name string, candidates []string) string {
	misses := NearMisses(name, candidates)
	if len(misses) == 0 {
		return ""
	}
	for i, m := range misses {
		misses[i] = "'" + m + "'"
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(misses, " or "))
}
