package config

import (
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
)

// misformed says what is wrong with a string of a format; a format that is not
// known says nothing, as JSON Schema has it.
func misformed(format, s string) string {
	switch format {
	case FormatPath:
		if !filepath.IsAbs(s) || strings.ContainsRune(s, 0) {
			return "has to be an absolute path"
		}
	case FormatDuration:
		if _, err := time.ParseDuration(s); err != nil {
			return "has to be a span of time such as 30s or 1h15m"
		}
	default:
		if check, ok := formats[format]; ok && !check(s) {
			return "is not a valid " + format
		}
	}
	return ""
}

// formats are those of JSON Schema that are judged.
var formats = map[string]func(string) bool{
	"uri": func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.IsAbs()
	},
	"uri-reference": func(s string) bool {
		_, err := url.Parse(s)
		return err == nil
	},
	"email": func(s string) bool {
		a, err := mail.ParseAddress(s)
		return err == nil && a.Address == s
	},
	"hostname": hostname,
	"ipv4": func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is4()
	},
	"ipv6": func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && a.Is6() && a.Zone() == ""
	},
	"date-time": timeIn(time.RFC3339),
	"date":      timeIn(time.DateOnly),
	"time":      timeIn("15:04:05Z07:00"),
	"uuid": func(s string) bool {
		return len(s) == 36 && uuid.Validate(s) == nil
	},
	"regex": func(s string) bool {
		_, err := regexp.Compile(s)
		return err == nil
	},
}

func timeIn(layout string) func(string) bool {
	return func(s string) bool {
		_, err := time.Parse(layout, s)
		return err == nil
	}
}

// hostname judges by RFC 1123.
func hostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		low := strings.ToLower(label)
		if len(low) > 63 || strings.HasPrefix(low, "-") || strings.HasSuffix(low, "-") || !spelled(low, "", "-") {
			return false
		}
	}
	return true
}
