package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The files-out protocol of an attempt: it writes its outputs below its own
// directory, and last, atomically, the result.
const (
	// ResultFile is the name of the result in an attempt's directory.
	ResultFile = "result"
	// ResultFormat is the version of the result's format.
	ResultFormat = 1
	// MaxResult is how long a result may be, in bytes.
	MaxResult = 16 << 20
	// MaxInline is how long a value inside a result may be, in bytes.
	MaxInline = 64 << 10
	// MaxOutputs is how many outputs a result may have.
	MaxOutputs = 10_000
)

// ErrInvalidResult says that a result breaks the rules of its format.
var ErrInvalidResult = errors.New("invalid result")

// Result is what an attempt leaves behind: cairn.step.v1.Result, in the JSON
// that protobuf's mapping gives it.
type Result struct {
	Format      uint32 `json:"format,omitempty"`
	Run         string `json:"run,omitempty"`
	Step        string `json:"step,omitempty"`
	Attempt     string `json:"attempt,omitempty"`
	Incarnation string `json:"incarnation,omitempty"`
	// Failure is nil when the step ended well.
	Failure *Failure       `json:"failure,omitempty"`
	Outputs []ResultOutput `json:"outputs,omitempty"`
	// Metrics has the last value of each.
	Metrics Metrics `json:"metrics,omitempty"`
	// Metadata and Parameters are JSON by name.
	Metadata   map[string]string `json:"metadata,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	StartedUS  Micros            `json:"startedUs,omitempty"`
	EndedUS    Micros            `json:"endedUs,omitempty"`
}

// Failure is why a step did not end well.
type Failure struct {
	// Message of the error, as the user's code gave it.
	Message string `json:"message,omitempty"`
	// Permanent: the user said that another attempt cannot help.
	Permanent bool        `json:"permanent,omitempty"`
	Kind      FailureKind `json:"kind,omitempty"`
	// Trace says where, for people: the user's own frames.
	Trace string `json:"trace,omitempty"`
}

// FailureKind is the kind of a failure.
type FailureKind string

// The kinds of failure.
const (
	FailureError     FailureKind = "error"
	FailurePanic     FailureKind = "panic"
	FailureTimeout   FailureKind = "timeout"
	FailureCancelled FailureKind = "cancelled"
	FailureOutput    FailureKind = "output"
)

// ResultOutput is one output.
type ResultOutput struct {
	// Name is unique in the result.
	Name string     `json:"name,omitempty"`
	Type OutputType `json:"type,omitzero"`
	// Path of the file or tree, relative to the attempt's directory; or absolute
	// for data elsewhere, which is copied and never moved. Empty: the value is
	// Inline.
	Path string `json:"path,omitempty"`
	// Tree: the path is a directory.
	Tree bool `json:"tree,omitempty"`
	// Inline is the value itself, at most MaxInline.
	Inline []byte `json:"inline,omitempty"`
	// Metadata is JSON by name.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// OutputType is the type of an output.
type OutputType struct {
	MediaType    string `json:"mediaType,omitempty"`
	LanguageType string `json:"languageType,omitempty"`
}

// Micros is a time in microseconds since the Unix epoch; a string in JSON, as
// protobuf's mapping has it.
type Micros int64

// MicrosOf gives a time as Micros.
func MicrosOf(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Time gives the time.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)) }

// MarshalJSON writes a string of digits.
func (m Micros) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, strconv.FormatInt(int64(m), 10)), nil
}

// UnmarshalJSON reads a string of digits or an integer.
func (m *Micros) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if s == "null" {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a number of microseconds", clip(s))
	}
	*m = Micros(n)
	return nil
}

// Metrics are numbers by name. NaN and the infinities are strings in JSON.
type Metrics map[string]float64

// MarshalJSON writes what protobuf's mapping has for a map of doubles.
func (m Metrics) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, len(m))
	for name, v := range m {
		switch {
		case math.IsNaN(v):
			out[name] = "NaN"
		case math.IsInf(v, 1):
			out[name] = "Infinity"
		case math.IsInf(v, -1):
			out[name] = "-Infinity"
		default:
			out[name] = v
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads numbers, and the three strings.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if raw == nil {
		return nil
	}
	*m = make(Metrics, len(raw))
	for name, r := range raw {
		var v float64
		switch string(r) {
		case `"NaN"`:
			v = math.NaN()
		case `"Infinity"`:
			v = math.Inf(1)
		case `"-Infinity"`:
			v = math.Inf(-1)
		default:
			if err := json.Unmarshal(r, &v); err != nil || string(r) == "null" {
				return fmt.Errorf("metric %q is not a number", clip(name))
			}
		}
		(*m)[name] = v
	}
	return nil
}

// ReadResult reads and checks the result at a path. It fails with
// fs.ErrNotExist where there is none, and with ErrInvalidResult where it is not
// one: too long, not a regular file, not JSON, or against the format's rules.
func ReadResult(path string) (*Result, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: it is a symbolic link", ErrInvalidResult)
	}
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is a %s", ErrInvalidResult, kindOf(info.Mode()))
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxResult+1))
	if err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return ParseResult(data)
}

// ParseResult reads and checks a result's bytes; see ReadResult.
func ParseResult(data []byte) (*Result, error) {
	if len(data) > MaxResult {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrInvalidResult, MaxResult)
	}
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidResult, err)
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return &r, nil
}

// WriteResult checks a result and makes it appear, whole, in an attempt's
// directory. It survives the end of the process, not a power cut: then the
// attempt is lost and made again.
func WriteResult(dir string, r *Result) error {
	if err := r.Check(); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidResult, err)
	}
	if len(data) > MaxResult {
		return fmt.Errorf("%w: %d bytes; at most %d are possible", ErrInvalidResult, len(data), MaxResult)
	}
	f, err := os.CreateTemp(dir, ".result-*")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, ResultFile))
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// Check says what of the format's rules a result breaks, as an
// ErrInvalidResult; nil where it breaks none.
func (r *Result) Check() error {
	if err := r.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidResult, err)
	}
	return nil
}

func (r *Result) check() error {
	if r.Format != ResultFormat {
		return fmt.Errorf("format %d is not %d", r.Format, ResultFormat)
	}
	ids := []struct{ what, value string }{
		{"run", r.Run}, {"step", r.Step}, {"attempt", r.Attempt}, {"incarnation", r.Incarnation},
	}
	for _, id := range ids {
		if id.value == "" || len(id.value) > 255 || !isPlain(id.value) {
			return fmt.Errorf("%s %q is empty, too long or not plain text", id.what, clip(id.value))
		}
	}
	if r.StartedUS < 0 || r.EndedUS < 0 {
		return errors.New("a time lies before 1970")
	}
	if len(r.Outputs) > MaxOutputs {
		return fmt.Errorf("%d outputs; at most %d are possible", len(r.Outputs), MaxOutputs)
	}
	seen := make(map[string]bool, len(r.Outputs))
	for i := range r.Outputs {
		o := &r.Outputs[i]
		if err := o.check(); err != nil {
			return err
		}
		if seen[o.Name] {
			return fmt.Errorf("two outputs are called %q", o.Name)
		}
		seen[o.Name] = true
	}
	if err := checkJSONValues("metadata", r.Metadata); err != nil {
		return err
	}
	return checkJSONValues("parameter", r.Parameters)
}

func (o *ResultOutput) check() error {
	if !isOutputName(o.Name) {
		return fmt.Errorf("output name %q is not 1 to 63 of A-Z a-z 0-9 _ . - beginning with a letter, digit or _", clip(o.Name))
	}
	if !isPlain(o.Type.MediaType) || len(o.Type.MediaType) > 255 {
		return fmt.Errorf("output %q: media type %q is too long or not plain text", o.Name, clip(o.Type.MediaType))
	}
	if len(o.Inline) > MaxInline {
		return fmt.Errorf("output %q: inline value of %d bytes; at most %d are possible", o.Name, len(o.Inline), MaxInline)
	}
	if o.Path != "" {
		if len(o.Inline) > 0 {
			return fmt.Errorf("output %q has both a path and an inline value", o.Name)
		}
		if err := checkOutputPath(o.Path); err != nil {
			return fmt.Errorf("output %q: %w", o.Name, err)
		}
	} else if o.Tree {
		return fmt.Errorf("output %q is a tree without a path", o.Name)
	}
	return checkJSONValues("output "+o.Name+": metadata", o.Metadata)
}

// checkOutputPath accepts a clean path that is absolute, or stays inside the
// directory it is joined to and is not the directory itself or its result.
func checkOutputPath(path string) error {
	if len(path) > maxTreePath || strings.ContainsRune(path, 0) {
		return fmt.Errorf("path %q is too long or has a NUL", clip(path))
	}
	if path != filepath.Clean(path) {
		return fmt.Errorf("path %q is not in its shortest form", clip(path))
	}
	if filepath.IsAbs(path) {
		return nil
	}
	if !filepath.IsLocal(path) || path == "." {
		return fmt.Errorf("path %q does not lie inside the attempt's directory", clip(path))
	}
	if path == ResultFile {
		return errors.New("path is the result itself")
	}
	return nil
}

func isOutputName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}

// isPlain holds for UTF-8 without control characters.
func isPlain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func checkJSONValues(what string, values map[string]string) error {
	for name, v := range values {
		if !json.Valid([]byte(v)) {
			return fmt.Errorf("%s %q is not JSON", what, clip(name))
		}
	}
	return nil
}
