package pluginhost

import (
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
)

// baseEnv is what every plugin is given of the host's environment: where it is,
// temporary files, locale, proxies and certificates. A name that ends in "*" is
// a prefix.
func baseEnv() []string {
	return []string{
		"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LC_*",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
		"http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
	}
}

// allowedEnv is the list of names that a plugin of these flavors is given.
func allowedEnv(flavors []model.Flavor) []string {
	names := baseEnv()
	for _, f := range flavors {
		for _, e := range f.Env {
			// Never what steers cairn itself or the loader of programs.
			if e != "*" && !strings.HasPrefix(e, "LD_") && !strings.HasPrefix(e, "DYLD_") && !slices.Contains(names, e) {
				names = append(names, e)
			}
		}
	}
	return names
}

// pluginEnv is the part of environ that a plugin is given.
func pluginEnv(environ []string, flavors []model.Flavor) []string {
	allowed := allowedEnv(flavors)
	var env []string
	for _, entry := range environ {
		name, _, ok := strings.Cut(entry, "=")
		if ok && slices.ContainsFunc(allowed, func(a string) bool { return matches(a, name) }) {
			env = append(env, entry)
		}
	}
	return env
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
