package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes text from the other side fit to show: valid UTF-8, no control
// characters but line breaks and tabs, at most limit bytes.
func clean(s string, limit int) string {
	s = truncate(s, limit)
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unsafeRune(r) {
			return '?'
		}
		return r
	}, s)
}

func unsafeRune(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}

// truncate cuts s to at most limit bytes of valid UTF-8, and shows that it did.
func truncate(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const mark = "…"
	if limit < len(mark) {
		return ""
	}
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}
