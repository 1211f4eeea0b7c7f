// Package config declares a configuration once, as a Go struct, and derives all
// else from it: a JSON Schema, validation with the attribute named, defaults,
// typed flags, and references to secrets.
//
// A struct's exported fields are the attributes. Tags say the rest:
//
//	type Config struct {
//		Endpoint string          `json:"endpoint" doc:"URL of the service." required:"true" format:"uri"`
//		Region   string          `json:"region" doc:"Region." default:"eu" enum:"eu,us"`
//		Parallel int             `json:"parallel" doc:"Uploads at once." default:"4" min:"1" max:"64"`
//		Timeout  config.Duration `json:"timeout" doc:"Longest wait." default:"30s"`
//		Token    config.Secret   `json:"token" doc:"Access token."`
//		Old      string          `json:"old" doc:"Name of the bucket." deprecated:"use endpoint"`
//	}
//
// The tags: json (the name, in snake_case), doc,
// default, required, enum (comma separated), min and max (of a number, or of the
// length of a string, list or map), format, pattern, deprecated (what to use
// instead), example. Fields may be strings, booleans, integers, floats, Secret,
// Duration, structs, pointers to them, lists, and maps with string keys.
//
// SchemaOf makes the schema; Parse reads one, from whatever language.
package config

// Formats of strings that this package knows beside those of JSON Schema.
const (
	// FormatPath is an absolute path of the local file system.
	FormatPath = "path"
	// FormatDuration is a span of time such as "1m30s".
	FormatDuration = "go-duration"
)
