package wire

import (
	"encoding/json"
	"fmt"
	"strings"

	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
)

// Limits of a description.
const (
	maxFlavors = 100
	maxList    = 200
	maxSummary = 500
	maxVersion = 100
)

// Channel is a way to reach a plugin.
type Channel string

// The channels.
const (
	ChannelInherited     Channel = "inherited"
	ChannelPrivateSocket Channel = "private_socket"
)

// Description is what a plugin says of itself.
type Description struct {
	// Name of the plugin: its binary is called BinaryPrefix + Name.
	Name    string
	Version string
	// SDK that it was made with, such as "go/1".
	SDK string
	// Channels that it can be reached by, best first.
	Channels []Channel
	Flavors  []Flavor
}

// Flavor is one implementation of a component type.
type Flavor struct {
	Type string
	Name string
	// Majors of the component type's service that it serves.
	Majors []int
	// SchemaVersion counts from 1.
	SchemaVersion int
	// ConfigSchema is a JSON Schema, a JSON object.
	ConfigSchema json.RawMessage
	Features     []string
	// Env are names of environment variables, or prefixes that end in "*".
	Env          []string
	Summary      string
	MachineBound bool
}

// DescriptionToProto converts a description.
func DescriptionToProto(d Description) *commonv1.DescribeResponse {
	p := &commonv1.DescribeResponse{Name: d.Name, Version: d.Version, Sdk: d.SDK}
	for _, c := range d.Channels {
		switch c {
		case ChannelInherited:
			p.Channels = append(p.Channels, commonv1.Channel_CHANNEL_INHERITED)
		case ChannelPrivateSocket:
			p.Channels = append(p.Channels, commonv1.Channel_CHANNEL_PRIVATE_SOCKET)
		}
	}
	for _, f := range d.Flavors {
		pf := &commonv1.Flavor{
			Type: f.Type, Name: f.Name, SchemaVersion: uint32(f.SchemaVersion),
			ConfigSchema: f.ConfigSchema, Features: f.Features, Env: f.Env,
			Summary: truncate(f.Summary, maxSummary), MachineBound: f.MachineBound,
		}
		for _, m := range f.Majors {
			pf.Majors = append(pf.Majors, uint32(m))
		}
		p.Flavors = append(p.Flavors, pf)
	}
	return p
}

// DescriptionFromProto converts and checks a description. Its errors say what
// the plugin's author has to mend.
func DescriptionFromProto(p *commonv1.DescribeResponse) (Description, error) {
	d := Description{
		Name:    p.GetName(),
		Version: clean(p.GetVersion(), maxVersion),
		SDK:     clean(p.GetSdk(), maxVersion),
	}
	if !validName(d.Name) {
		return Description{}, fmt.Errorf("the plugin's name %q is not a name", clean(d.Name, 80))
	}
	for _, c := range p.GetChannels() {
		switch c {
		case commonv1.Channel_CHANNEL_INHERITED:
			d.Channels = append(d.Channels, ChannelInherited)
		case commonv1.Channel_CHANNEL_PRIVATE_SOCKET:
			d.Channels = append(d.Channels, ChannelPrivateSocket)
		}
	}
	if n := len(p.GetFlavors()); n == 0 || n > maxFlavors {
		return Description{}, fmt.Errorf("the plugin has %d flavors; 1 to %d are possible", n, maxFlavors)
	}
	seen := map[[2]string]bool{}
	for _, pf := range p.GetFlavors() {
		f, err := flavorFromProto(pf)
		if err != nil {
			return Description{}, err
		}
		id := [2]string{f.Type, f.Name}
		if seen[id] {
			return Description{}, fmt.Errorf("the plugin has the %s flavor %q twice", f.Type, f.Name)
		}
		seen[id] = true
		d.Flavors = append(d.Flavors, f)
	}
	return d, nil
}

func flavorFromProto(p *commonv1.Flavor) (Flavor, error) {
	f := Flavor{
		Type: p.GetType(), Name: p.GetName(), SchemaVersion: int(p.GetSchemaVersion()),
		ConfigSchema: p.GetConfigSchema(), Features: p.GetFeatures(), Env: p.GetEnv(),
		Summary: clean(p.GetSummary(), maxSummary), MachineBound: p.GetMachineBound(),
	}
	if !validName(f.Type) || !validName(f.Name) {
		return f, fmt.Errorf("a flavor is called %q of type %q; both have to be names", clean(f.Name, 80), clean(f.Type, 80))
	}
	who := fmt.Sprintf("the %s flavor %q", f.Type, f.Name)
	if f.SchemaVersion < 1 {
		return f, fmt.Errorf("%s has schema version %d; it counts from 1", who, f.SchemaVersion)
	}
	if len(f.ConfigSchema) > MaxSchema || !isObject(f.ConfigSchema) {
		return f, fmt.Errorf("the config schema of %s is not a JSON object of at most %d bytes", who, MaxSchema)
	}
	if n := len(p.GetMajors()); n == 0 || n > maxList {
		return f, fmt.Errorf("%s names %d majors of its contract; at least one is needed", who, n)
	}
	for _, m := range p.GetMajors() {
		if m == 0 {
			return f, fmt.Errorf("%s names the major 0; they count from 1", who)
		}
		f.Majors = append(f.Majors, int(m))
	}
	if err := checkList(who, "feature", f.Features, validName); err != nil {
		return f, err
	}
	if err := checkList(who, "environment variable", f.Env, validEnv); err != nil {
		return f, err
	}
	return f, nil
}

func checkList(who, what string, list []string, valid func(string) bool) error {
	if len(list) > maxList {
		return fmt.Errorf("%s names %d of what is a %s; at most %d are possible", who, len(list), what, maxList)
	}
	for _, s := range list {
		if !valid(s) {
			return fmt.Errorf("%s names %q, which is not a possible %s", who, clean(s, 80), what)
		}
	}
	return nil
}

// isObject reports whether b is one JSON object.
func isObject(b []byte) bool {
	return strings.HasPrefix(strings.TrimLeft(string(b[:min(len(b), 64)]), " \t\r\n"), "{") && json.Valid(b)
}
