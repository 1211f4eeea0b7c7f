package pluginhost

import (
	"errors"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// shortestHidden is the length from which a secret's value is looked for: what
// is shorter stands in too many words.
const shortestHidden = 4

// hide takes the values of secrets out of what a plugin says, which may repeat
// what it was configured with. The references stand in their place.
func hide(err error, secrets map[string]string) error {
	var pairs []string
	for ref, value := range secrets {
		if len(value) >= shortestHidden {
			pairs = append(pairs, value, "{{"+ref+"}}")
		}
	}
	if err == nil || len(pairs) == 0 {
		return err
	}
	r := strings.NewReplacer(pairs...)
	if r.Replace(err.Error()) == err.Error() && r.Replace(hintIn(err)) == hintIn(err) {
		return err
	}
	var e *diag.Error
	if errors.As(err, &e) {
		// What it wraps stays for errors.Is, and is never shown.
		c := *e
		c.Summary, c.Detail, c.Hint, c.Err = r.Replace(e.Summary), r.Replace(e.Detail), r.Replace(e.Hint), err
		c.Findings = nil
		for _, d := range e.Findings {
			d.Summary, d.Detail, d.Hint = r.Replace(d.Summary), r.Replace(d.Detail), r.Replace(d.Hint)
			c.Findings = append(c.Findings, d)
		}
		return &c
	}
	var pe *diag.PluginError
	if errors.As(err, &pe) {
		c := *pe
		c.Summary, c.Hint = r.Replace(pe.Summary), r.Replace(pe.Hint)
		return &c
	}
	return errors.New(r.Replace(err.Error()))
}

func hintIn(err error) string {
	var e *diag.Error
	var pe *diag.PluginError
	switch {
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &pe):
		return pe.Hint
	}
	return ""
}
