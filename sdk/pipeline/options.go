package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// options is what the command line, the environment and the configuration file
// say of a run.
type options struct {
	pipeline *Pipeline
	params   *paramSet
	stack    string
	name     string
	labels   map[string]string
	resume   string
	help     bool
	steps    map[string]stepOptions
	config   string
}

// stepOptions changes one step from outside.
type stepOptions struct {
	retries                      *int
	backoff, maxBackoff, timeout *time.Duration
}

// flagValue makes a parameter a flag.
type flagValue struct {
	p     *param
	given *[]func() error
}

func (f flagValue) String() string { return f.p.text() }
func (f flagValue) Type() string   { k, _ := kindName(f.p.value.Type()); return k }

// Set checks the value at once, and sets it again when file and environment
// have been read, because the command line has the last word.
func (f flagValue) Set(text string) error {
	source := "--" + f.p.name
	*f.given = append(*f.given, func() error { return f.p.set(text, source) })
	return f.p.set(text, source)
}

// parseOptions reads the arguments of a program, without its name.
func parseOptions(p *Pipeline, args []string, lookup func(string) (string, bool)) (*options, error) {
	params, err := newParams(p.params)
	if err != nil {
		return nil, diag.Errorf(diag.Invalid, "the parameters of pipeline '%s' (%s): %w", p.name, p.where, err)
	}
	o := &options{pipeline: p, params: params, labels: map[string]string{}}
	var given []func() error
	var labels []string
	flags := pflag.NewFlagSet(p.name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {}
	flags.StringVar(&o.stack, "stack", "", "")
	flags.StringVar(&o.config, "config", "", "")
	flags.StringVar(&o.name, "name", "", "")
	flags.StringArrayVar(&labels, "label", nil, "")
	flags.StringVar(&o.resume, "resume", "", "")
	flags.BoolVarP(&o.help, "help", "h", false, "")
	for _, q := range params.params {
		if q.secret {
			continue
		}
		f := flags.VarPF(flagValue{q, &given}, q.name, "", q.help)
		if f.Value.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	if err := flags.Parse(args); err != nil {
		return nil, flagError(err, flags, params)
	}
	if o.help {
		return o, nil
	}
	if flags.NArg() > 0 {
		return nil, diag.Errorf(diag.Invalid, "unexpected argument '%s'", flags.Arg(0)).
			WithHint("parameters are flags: see --help")
	}
	if o.config != "" {
		if err := o.readConfig(o.config); err != nil {
			return nil, err
		}
	}
	if err := params.fromEnv(lookup); err != nil {
		return nil, err
	}
	for _, again := range given {
		if err := again(); err != nil {
			return nil, err
		}
	}
	for _, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return nil, diag.Errorf(diag.Invalid, "the label '%s' is not KEY=VALUE", label).WithHint("write --label team=vision")
		}
		o.labels[key] = value
	}
	if o.resume == "" {
		o.resume, _ = lookup("CAIRN_RESUME")
	}
	if o.name != "" {
		if why := badName(o.name); why != "" {
			return nil, diag.Errorf(diag.Invalid, "run name %q %s", o.name, why)
		}
	}
	return o, params.close()
}

// flagError makes an error of the flag package one with near misses.
func flagError(err error, flags *pflag.FlagSet, params *paramSet) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return diag.Errorf(diag.Invalid, "%w", err).WithHint("see --help")
	}
	name := unknown.GetSpecifiedName()
	if p := params.byName[name]; p != nil && p.secret {
		return diag.Errorf(diag.Invalid, "parameter '%s' is secret, so it is not a flag", name).
			WithHint("set it with the environment variable %s", p.variable())
	}
	if name == "no-cache" || name == "plan" {
		return diag.Errorf(diag.Invalid, "--%s is not known to this version of cairn", name).
			WithHint("leave it out: every step runs, and nothing is cached")
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	misses := diag.NearMisses(name, names)
	for i := range misses {
		misses[i] = "--" + misses[i]
	}
	e := diag.Errorf(diag.Invalid, "unknown flag --%s", name).WithHint("--help lists the flags")
	if len(misses) > 0 {
		e.Summary += "; did you mean " + strings.Join(misses, " or ") + "?"
	}
	return e
}

// readConfig reads the file of --config. What the command line gave already
// stays.
func (o *options) readConfig(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return diag.Errorf(diag.NotFound, "the configuration file %s does not exist", path)
	}
	if err != nil {
		return diag.Errorf(diag.Invalid, "read the configuration file: %w", err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(data, &root); err != nil {
		return diag.Errorf(diag.Invalid, "%s is not a YAML mapping: %w", path, err)
	}
	source := filepath.Base(path)
	for _, key := range slices.Sorted(maps.Keys(root)) {
		err := error(nil)
		switch value := root[key]; key {
		case "stack":
			err = takeText(&o.stack, value)
		case "name":
			err = takeText(&o.name, value)
		case "labels":
			var labels map[string]any
			if labels, err = asMapping(value); err == nil {
				for k, v := range labels {
					o.labels[k] = fmt.Sprint(v)
				}
			}
		case "parameters":
			var values map[string]any
			if values, err = asMapping(value); err == nil {
				if err := o.params.fromMap(values, "", source); err != nil {
					return err
				}
			}
		case "steps":
			err = o.readSteps(value)
		default:
			known := []string{"stack", "name", "labels", "parameters", "steps"}
			return diag.Errorf(diag.Invalid, "unknown key '%s' in %s%s", key, path, diag.DidYouMean(key, known)).
				WithHint("the keys are: %s", strings.Join(known, ", "))
		}
		if err != nil {
			return diag.Errorf(diag.Invalid, "key '%s' in %s: %w", key, path, err)
		}
	}
	return nil
}

func takeText(to *string, value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("%v is not a text", value)
	}
	if *to == "" {
		*to = text
	}
	return nil
}

func asMapping(value any) (map[string]any, error) {
	if value == nil {
		return nil, nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is not a mapping", value)
	}
	return m, nil
}

func (o *options) readSteps(value any) error {
	steps, err := asMapping(value)
	if err != nil {
		return err
	}
	o.steps = map[string]stepOptions{}
	for name, value := range steps {
		keys, err := asMapping(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var s stepOptions
		for key, v := range keys {
			switch key {
			case "retries":
				n, ok := v.(uint64)
				if !ok || n > 1000 {
					return fmt.Errorf("%s.retries: %v is not a whole number from 0 to 1000", name, v)
				}
				retries := int(n)
				s.retries = &retries
			case "backoff":
				s.backoff, err = asDuration(v)
			case "max_backoff":
				s.maxBackoff, err = asDuration(v)
			case "timeout":
				s.timeout, err = asDuration(v)
			default:
				known := []string{"retries", "backoff", "max_backoff", "timeout"}
				return fmt.Errorf("unknown option '%s.%s'%s; the options of a step are %s", name, key, diag.DidYouMean(key, known), strings.Join(known, ", "))
			}
			if err != nil {
				return fmt.Errorf("%s.%s: %w", name, key, err)
			}
		}
		o.steps[name] = s
	}
	return nil
}

func asDuration(v any) (*time.Duration, error) {
	d, err := time.ParseDuration(fmt.Sprint(v))
	if err != nil {
		return nil, fmt.Errorf("%v is not a duration such as 1m30s", v)
	}
	return &d, nil
}

// trace traces the pipeline with what the options say.
func (o *options) trace() (*traced, error) {
	return o.pipeline.trace(o.params, o.steps)
}
