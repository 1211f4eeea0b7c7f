package registry

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// knownType refuses what is no component type.
func knownType(t model.ComponentType) error {
	names := make([]string, 0, len(model.ComponentTypes()))
	for _, k := range model.ComponentTypes() {
		if k == t {
			return nil
		}
		names = append(names, string(k))
	}
	return &diag.Error{
		Code:    diag.Invalid,
		Summary: fmt.Sprintf("no component type '%s'%s", t, diag.DidYouMean(string(t), names)),
		Hint:    "the component types are " + strings.Join(names, ", "),
	}
}

func validName(what, name string) error {
	if model.ValidName(name) {
		return nil
	}
	return &diag.Error{
		Code:    diag.Invalid,
		Summary: fmt.Sprintf("'%s' cannot be the name of %s", name, withArticle(strings.ReplaceAll(what, "-", " "))),
		Detail:  model.NameRule,
		Hint:    suggestName(name),
	}
}

// suggestName is a hint with a valid name like the one that was given.
func suggestName(name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return unicode.ToLower(r)
		}
		return '-'
	}, name)
	s = strings.Trim(s, "-_.")
	if len(s) > 63 {
		s = s[:63]
	}
	if !model.ValidName(s) {
		return "choose a name such as 'my-stack'"
	}
	return fmt.Sprintf("choose a name such as '%s'", s)
}

// maxLabelKey is the longest key of a label.
const maxLabelKey = 63

func validLabelKey(k string) bool {
	for i, c := range []byte(k) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_./-", rune(c))) {
			return false
		}
	}
	return k != "" && len(k) <= maxLabelKey
}

// maxLabel is the longest value of a label, in bytes.
const maxLabel = 255

func validLabels(labels map[string]string) error {
	for k, v := range labels {
		if !validLabelKey(k) {
			return &diag.Error{
				Code: diag.Invalid, Summary: fmt.Sprintf("'%s' cannot be the key of a label", k),
				Detail: "a key has 1 to 63 characters of letters, digits, '_', '.', '/' and '-', and begins with a letter or a digit",
				Hint:   "write a label as KEY=VALUE, such as team=vision",
			}
		}
		if len(v) > maxLabel || strings.ContainsFunc(v, unicode.IsControl) {
			return &diag.Error{
				Code: diag.Invalid, Summary: fmt.Sprintf("the value of label '%s' cannot be kept", k),
				Detail: fmt.Sprintf("a value has at most %d bytes and no control characters", maxLabel),
				Hint:   "shorten it",
			}
		}
	}
	return nil
}

func changeLabels(labels map[string]string, change model.LabelChange) (map[string]string, error) {
	if err := validLabels(change.Set); err != nil {
		return nil, err
	}
	out := map[string]string{}
	maps.Copy(out, labels)
	maps.Copy(out, change.Set)
	for _, k := range change.Remove {
		if _, ok := out[k]; !ok {
			return nil, &diag.Error{
				Code:    diag.NotFound,
				Summary: fmt.Sprintf("there is no label '%s' to remove%s", k, diag.DidYouMean(k, keys(out))),
			}
		}
		delete(out, k)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func notFound(what, name string, candidates []string, hint string) error {
	return &diag.Error{
		Code:    diag.NotFound,
		Summary: fmt.Sprintf("no %s named '%s'%s", what, name, diag.DidYouMean(name, candidates)),
		Hint:    hint,
		Err:     model.ErrNotFound,
	}
}

func nameTaken(what, name, hint string) error {
	return &diag.Error{
		Code:    diag.Refused,
		Summary: fmt.Sprintf("there is %s named '%s' already", withArticle(what), name),
		Hint:    hint,
		Err:     model.ErrExists,
	}
}

func changedMeanwhile(err error, what, name string) error {
	if !errors.Is(err, model.ErrConflict) {
		return fmt.Errorf("update %s '%s': %w", what, name, err)
	}
	return &diag.Error{
		Code:    diag.Refused,
		Summary: fmt.Sprintf("%s '%s' was changed by somebody else meanwhile", what, name),
		Hint:    "look at it again, and repeat the command",
		Err:     err,
	}
}

func withArticle(what string) string {
	if strings.ContainsRune("aeiou", rune(what[0])) {
		return "an " + what
	}
	return "a " + what
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = "'" + n + "'"
	}
	return strings.Join(quoted, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
