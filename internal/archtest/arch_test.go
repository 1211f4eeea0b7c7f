package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cairn-stack/cairn/"

// ours says which of cairn's own packages a package may import: the longest
// prefix that matches decides. "x/..." is x and all below it. Tests are free.
var ours = map[string][]string{
	"proto/...":             {"proto/..."},
	"internal/fault":        {},
	"internal/archtest":     {},
	"sdk/diag":              {},
	"sdk/config":            {"sdk/diag"},
	"sdk/artifact":          {"internal/fault"},
	"sdk/wire":              {"proto/...", "sdk/diag", "sdk/config"},
	"sdk/wire/launch":       {"sdk/wire", "sdk/diag"},
	"sdk/plugin":            {"proto/...", "sdk/diag", "sdk/config", "sdk/wire"},
	"sdk/pipeline/...":      {"proto/...", "sdk/diag", "sdk/config", "sdk/artifact", "internal/fault"},
	"host/model":            {},
	"host/home":             {"host/model", "sdk/diag", "internal/fault"},
	"host/store/...":        {"host/model", "host/store/...", "sdk/diag", "internal/fault"},
	"host/registry":         {"host/model", "sdk/config", "sdk/diag"},
	"host/secrets":          {"host/model", "sdk/diag", "internal/fault"},
	"host/pluginhost":       {"host/model", "host/pluginhost/...", "sdk/wire", "sdk/wire/launch", "sdk/config", "sdk/diag"},
	"host/pluginhost/guard": {},
	"host/engine/...":       {"host/model", "host/engine/...", "sdk/artifact", "sdk/diag", "internal/fault"},
	"host/api":              {"host/model", "proto/...", "sdk/diag", "sdk/config", "sdk/artifact", "internal/fault"},
	"host/app":              {"host/...", "proto/...", "sdk/...", "internal/fault"},
	"plugins/...":           {"sdk/plugin", "sdk/diag", "sdk/config", "sdk/artifact"},
	"cmd/cairn":             {"host/app", "host/api", "host/pluginhost/guard", "proto/...", "sdk/diag", "sdk/config"},
	"examples/...":          {"sdk/pipeline", "sdk/plugin"},
	"e2e":                   {},
	"e2e/program":           {"sdk/pipeline"},
	"bench/...":             {"sdk/pipeline", "host/...", "sdk/...", "proto/..."},
}

// fenced libraries may be imported only by the packages named: one place each
// that knows how they behave.
var fenced = map[string][]string{
	"github.com/hashicorp/go-plugin": {"sdk/plugin", "sdk/wire/launch", "bench/..."},
	"modernc.org/sqlite":             {"host/store/...", "bench/..."},
	"github.com/spf13/cobra":         {"cmd/cairn"},
	"filippo.io/age":                 {"host/secrets"},
	"testing":                        {"host/store/storetest"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
}

func matches(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return pattern == path
}

func anyMatches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

func ruleFor(path string) (string, bool) {
	best, found := "", false
	for pattern := range ours {
		if matches(pattern, path) && (!found || len(pattern) > len(best)) {
			best, found = pattern, true
		}
	}
	return best, found
}

func TestImports(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for _, p := range all {
		rule, ok := ruleFor(p.ImportPath)
		if !ok {
			t.Errorf("%s has no import rule: add one to internal/archtest", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if inner, own := strings.CutPrefix(imp, module); own && !anyMatches(ours[rule], inner) {
				t.Errorf("%s imports %s, which the rule for %s does not allow", p.ImportPath, inner, rule)
			}
			for lib, users := range fenced {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !anyMatches(users, p.ImportPath) {
					t.Errorf("%s imports %s; only %v may", p.ImportPath, imp, users)
				}
			}
		}
	}
}

func TestRulesNameLivePackages(t *testing.T) {
	t.Parallel()
	all := packages(t)
	live := func(pattern string) bool {
		return slices.ContainsFunc(all, func(p pkg) bool { return matches(pattern, p.ImportPath) })
	}
	for pattern, allowed := range ours {
		for _, p := range append([]string{pattern}, allowed...) {
			if !live(p) {
				t.Errorf("the rule for %s names %s, which is no package: take it out", pattern, p)
			}
		}
	}
	for lib, users := range fenced {
		for _, p := range users {
			if !live(p) {
				t.Errorf("the fence of %s names %s, which is no package: take it out", lib, p)
			}
		}
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"sdk/wire", "sdk/wire", true},
		{"sdk/wire", "sdk/wire/launch", false},
		{"sdk/...", "sdk/wire/launch", true},
		{"sdk/...", "sdkx", false},
		{"host/store/...", "host/store", true},
	} {
		if got := matches(c.pattern, c.path); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}
