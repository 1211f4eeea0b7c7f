package config

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// judge finds what is wrong with a value by the keywords of this package. A
// reference to a secret passes for any string.
func (n *node) judge(path string, v any) diag.List {
	if n.foreign {
		return nil
	}
	if !n.takes(v) {
		return diag.List{finding(path, "has to be %s, not %s", article(string(n.Type)), article(typeOf(v)))}
	}
	s, isText := v.(string)
	if isText {
		if _, isRef := ParseReference(s); isRef {
			return nil
		}
	}
	found := n.judgeEnum(path, v)
	switch v := v.(type) {
	case string:
		return append(found, n.judgeText(path, v)...)
	case json.Number:
		return append(found, n.judgeNumber(path, v)...)
	case []any:
		return append(found, n.judgeList(path, v)...)
	case map[string]any:
		return append(found, n.judgeObject(path, v)...)
	}
	return found
}

// typeOf is the JSON type of a decoded value.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case json.Number:
		return "number"
	}
	return "null"
}

// takes reports whether the value is of the node's type.
func (n *node) takes(v any) bool {
	if n.Type == "integer" {
		number, ok := v.(json.Number)
		r, read := rational(number)
		return ok && read && r.IsInt()
	}
	return n.Type == "" || string(n.Type) == typeOf(v)
}

// rational is a number as it was written; not ok for one of a size that nobody
// means.
func rational(v json.Number) (*big.Rat, bool) { return new(big.Rat).SetString(string(v)) }

func (n *node) judgeEnum(path string, v any) diag.List {
	if n.Enum == nil {
		return nil
	}
	got := shown(v)
	var names []string
	for _, raw := range n.Enum {
		want, err := decodeNumber(raw)
		if err != nil || same(want, v) {
			return nil
		}
		names = append(names, shown(want))
	}
	return diag.List{finding(path, "has to be one of %s, not '%s'%s", strings.Join(names, ", "), got, diag.DidYouMean(got, names))}
}

func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	default:
		return fmt.Sprint(v)
	}
}

// same compares scalars; numbers by their value.
func same(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, both := b.(json.Number)
	if isNumber && both {
		p, okP := rational(x)
		q, okQ := rational(y)
		return okP && okQ && p.Cmp(q) == 0
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

func (n *node) judgeText(path, s string) (found diag.List) {
	size := utf8.RuneCountInString(s)
	if limit, ok := length(n.MinLength); ok && size < limit {
		if size == 0 {
			found = append(found, finding(path, "must not be empty"))
		} else {
			found = append(found, finding(path, "has to have at least %d characters, not %d", limit, size))
		}
	}
	if limit, ok := length(n.MaxLength); ok && size > limit {
		found = append(found, finding(path, "has to have at most %d characters, not %d", limit, size))
	}
	if n.pattern != nil && !n.pattern.MatchString(s) {
		found = append(found, finding(path, "does not match %s: %q", n.Pattern, s))
	}
	if wrong := misformed(n.Format, s); wrong != "" {
		found = append(found, finding(path, "%s: %q", wrong, s))
	}
	return found
}

func (n *node) judgeNumber(path string, v json.Number) (found diag.List) {
	got, ok := rational(v)
	if !ok {
		return diag.List{finding(path, "is out of range")}
	}
	if limit, ok := rational(n.Minimum); ok && got.Cmp(limit) < 0 {
		found = append(found, finding(path, "has to be at least %s, not %s", limit.RatString(), got.RatString()))
	}
	if limit, ok := rational(n.Maximum); ok && got.Cmp(limit) > 0 {
		found = append(found, finding(path, "has to be at most %s, not %s", limit.RatString(), got.RatString()))
	}
	return found
}

func (n *node) judgeList(path string, list []any) diag.List {
	found := sized(path, len(list), n.MinItems, n.MaxItems)
	if n.Items == nil {
		return found
	}
	for i, v := range list {
		found = append(found, n.Items.judge(fmt.Sprintf("%s[%d]", path, i), v)...)
	}
	return found
}

func (n *node) judgeObject(path string, m map[string]any) diag.List {
	found := sized(path, len(m), n.MinProps, n.MaxProps)
	for _, name := range n.Required {
		if _, ok := m[name]; ok {
			continue
		}
		d := finding(join(path, name), "attribute '%s' is missing", name)
		if p := n.property(name); p != nil {
			d.Detail = p.Description
		}
		found = append(found, d)
	}
	for _, name := range sortedKeys(m) {
		at := join(path, name)
		switch p := n.property(name); {
		case p != nil:
			found = append(found, p.judge(at, m[name])...)
		case n.Additional == nil:
		case n.Additional.node != nil:
			found = append(found, n.Additional.node.judge(at, m[name])...)
		case !n.Additional.allowed:
			d := finding(at, "no attribute '%s'%s", name, diag.DidYouMean(name, n.names()))
			d.Hint = "the attributes are " + strings.Join(n.names(), ", ")
			found = append(found, d)
		}
	}
	return found
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// sized judges the number of a list's or an object's entries.
func sized(path string, size int, low, high json.Number) (found diag.List) {
	if limit, ok := length(low); ok && size < limit {
		found = append(found, finding(path, "has to have at least %d entries, not %d", limit, size))
	}
	if limit, ok := length(high); ok && size > limit {
		found = append(found, finding(path, "has to have at most %d entries, not %d", limit, size))
	}
	return found
}

func length(bound json.Number) (int, bool) {
	limit, err := strconv.Atoi(string(bound))
	return limit, err == nil
}

func article(t string) string {
	switch {
	case t == "null":
		return "null"
	case strings.ContainsRune("aeio", rune(t[0])):
		return "an " + t
	}
	return "a " + t
}
