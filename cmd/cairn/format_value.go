package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// timeOf is a time in UTC for a view; nil where there is none.
func timeOf(t *timestamppb.Timestamp) *time.Time {
	if t == nil || (t.GetSeconds() == 0 && t.GetNanos() == 0) {
		return nil
	}
	v := t.AsTime()
	return &v
}

// whenText is a time for people, in their own zone.
func whenText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// tookText is the time between two, rounded to what matters; from begin to now
// where end is missing.
func tookText(begin, end *time.Time, now time.Time) string {
	if begin == nil {
		return ""
	}
	if end == nil {
		end = &now
	}
	d := end.Sub(*begin)
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func sizeText(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

// mapText is a map as k=v, sorted, separated by commas.
func mapText(m map[string]string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ", ")
}

// digestText is the beginning of a digest, enough to tell it by.
func digestText(digest string) string {
	algorithm, hex, found := strings.Cut(digest, ":")
	if !found || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

func yesText(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// countText is a number with its noun.
func countText(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// shellText is an argument list as one would type it.
func shellText(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;!#~") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
