package wire

import "strings"

// These checks are written out, since compiling patterns for them costs every
// plugin a third of a millisecond of its start.

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// only reports whether s is made of the characters of set.
func only(s, set string) bool { return strings.Trim(s, set) == "" }

// ValidKey reports whether key can name an object: segments of
// [A-Za-z0-9._=-]+ joined by "/", at most MaxKey bytes, none "." or "..".
func ValidKey(key string) bool {
	if len(key) > MaxKey {
		return false
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || !only(segment, lower+upper+digits+"._=-") {
			return false
		}
	}
	return true
}

// ValidDigest reports whether s is a digest as cairn writes it: "sha256t:" and
// 64 hex digits.
func ValidDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256t:")
	return ok && len(hex) == 64 && only(hex, digits+"abcdef")
}

// validName: [a-z0-9][a-z0-9_.-]{0,62}, for plugins, flavors and features.
func validName(s string) bool {
	return s != "" && len(s) <= 63 && only(s, lower+digits+"_.-") && only(s[:1], lower+digits)
}

// validEnv: a variable's name, or the beginning of one and a "*".
func validEnv(s string) bool {
	s = strings.TrimSuffix(s, "*")
	return s != "" && len(s) <= 128 && only(s, lower+upper+digits+"_") && only(s[:1], lower+upper+"_")
}
