package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestErrorRoundTrip(t *testing.T) {
	t.Parallel()
	tests := map[string]diag.PluginError{
		"all set": {
			Reason: diag.ErrThrottled, Retry: diag.RetryAfter, Wait: 1500 * time.Millisecond, Fault: diag.FaultBackend,
			Summary: "bucket 'b' answers 503", Hint: "wait a little", Path: "endpoint.url",
		},
		"unknown outcome": {Reason: diag.ErrTimeout, Retry: diag.RetryUnknownOutcome, Fault: diag.FaultPlugin, Summary: "gave up"},
		"reason alone":    {Reason: diag.ErrNotFound, Retry: diag.RetryNever},
	}
	for _, row := range reasonRows() {
		tests["reason "+string(row.reason)] = diag.PluginError{Reason: row.reason, Retry: diag.RetryNever, Fault: diag.FaultUser, Summary: "x"}
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := FromStatus(ToStatus(&want))
			var got *diag.PluginError
			if !errors.As(err, &got) {
				t.Fatalf("got %T", err)
			}
			if d := cmp.Diff(want, *got); d != "" {
				t.Error(d)
			}
			if !errors.Is(err, want.Reason) {
				t.Errorf("%v is not %s", err, want.Reason)
			}
		})
	}
}

func TestErrorsOfOtherKinds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err     error
		reason  diag.Reason
		summary string
		fault   diag.Fault
	}{
		"wrapped reason":   {fmt.Errorf("put 'k': %w", diag.ErrExhausted), diag.ErrExhausted, "put 'k': exhausted", ""},
		"wrapped error":    {fmt.Errorf("put 'k': %w", &diag.PluginError{Reason: diag.ErrCorrupt, Summary: "bad"}), diag.ErrCorrupt, "put 'k': bad", ""},
		"user's error":     {diag.Errorf(diag.Invalid, "no"), diag.ErrInvalidConfig, "no", ""},
		"cancelled":        {context.Canceled, diag.ErrCanceled, "context canceled", ""},
		"deadline":         {fmt.Errorf("x: %w", context.DeadlineExceeded), diag.ErrTimeout, "x: context deadline exceeded", ""},
		"backend's status": {status.Error(codes.PermissionDenied, "no access"), diag.ErrPermissionDenied, "no access", ""},
		"unknown":          {errors.New("boom"), diag.ErrInternal, "boom", diag.FaultPlugin},
		"unknown reason":   {&diag.PluginError{Reason: "brand_new", Summary: "s"}, diag.ErrInternal, "s", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *diag.PluginError
			if !errors.As(FromStatus(ToStatus(tt.err)), &got) {
				t.Fatal("no plugin error")
			}
			if got.Reason != tt.reason || got.Summary != tt.summary || got.Fault != tt.fault {
				t.Errorf("got %+v", got)
			}
		})
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil || ErrorToProto(nil) != nil || ErrorFromProto(nil) != nil {
		t.Error("nil is an error")
	}
	// A status without a detail, and a reason of a newer plugin.
	if err := FromStatus(status.Error(codes.Unavailable, "gone")); !errors.Is(err, diag.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := ErrorFromProto(&commonv1.Error{Reason: 999}); err.Reason != diag.ErrInternal {
		t.Errorf("got %v", err)
	}
}

func TestErrorIsSmall(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"ascii":   strings.Repeat("x", 10_000),
		"runes":   strings.Repeat("é", 10_000),
		"invalid": strings.Repeat("x\xff", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := ToStatus(&diag.PluginError{Reason: diag.ErrInternal, Summary: text, Hint: text, Path: text})
			s, _ := status.FromError(err)
			if n := proto.Size(s.Proto()); n > MaxError {
				t.Errorf("the status has %d bytes", n)
			}
			var got *diag.PluginError
			if !errors.As(FromStatus(err), &got) || !utf8.ValidString(got.Summary) || !strings.HasSuffix(got.Summary, "…") {
				t.Errorf("got %.20q", got.Summary)
			}
		})
	}
}

func TestTextIsCleaned(t *testing.T) {
	t.Parallel()
	got := ErrorFromProto(&commonv1.Error{Summary: "a\x1b[2Jb\x00c\u202ed\n"}).Summary
	if want := "a?[2Jb?c?d\n"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestDiagnosticsRoundTrip(t *testing.T) {
	t.Parallel()
	want := diag.List{
		{Severity: diag.SeverityError, Summary: "s", Detail: "d", Path: "a.b", Fault: diag.FaultConfig, Hint: "h"},
		{Severity: diag.SeverityWarning, Summary: "w"},
	}
	if d := cmp.Diff(want, DiagnosticsFromProto(DiagnosticsToProto(want))); d != "" {
		t.Error(d)
	}
	many := make(diag.List, MaxDiagnostics+50)
	for i := range many {
		many[i] = diag.Diagnostic{Severity: diag.SeverityWarning, Summary: "w"}
	}
	many[len(many)-1].Severity = diag.SeverityError
	got := DiagnosticsFromProto(DiagnosticsToProto(many))
	if len(got) != MaxDiagnostics || !got.HasError() {
		t.Errorf("got %d, error %v", len(got), got.HasError())
	}
	// A plugin that does not hold the limit cannot hide its error either.
	var ps []*commonv1.Diagnostic
	for _, d := range many {
		ps = append(ps, DiagnosticToProto(d))
	}
	if got := DiagnosticsFromProto(ps); len(got) != MaxDiagnostics || !got.HasError() {
		t.Errorf("got %d, error %v", len(got), got.HasError())
	}
}

func TestDescriptionRoundTrip(t *testing.T) {
	t.Parallel()
	want := Description{
		Name: "local", Version: "1.2.3", SDK: "go/1", Channels: []Channel{ChannelInherited, ChannelPrivateSocket},
		Flavors: []Flavor{{
			Type: "artifact-store", Name: "local", Majors: []int{1, 2}, SchemaVersion: 3,
			ConfigSchema: json.RawMessage(`{"type":"object"}`), Features: []string{"move"}, Env: []string{"AWS_*", "KUBECONFIG"},
			Summary: "Keeps files.", MachineBound: true,
		}},
	}
	got, err := DescriptionFromProto(DescriptionToProto(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDescriptionIsChecked(t *testing.T) {
	t.Parallel()
	good := func() Description {
		return Description{Name: "p", Flavors: []Flavor{{
			Type: "orchestrator", Name: "f", Majors: []int{1}, SchemaVersion: 1, ConfigSchema: json.RawMessage(`{}`),
		}}}
	}
	tests := map[string]struct {
		spoil func(*Description)
		want  string
	}{
		"name":       {func(d *Description) { d.Name = "../x" }, "is not a name"},
		"no flavor":  {func(d *Description) { d.Flavors = nil }, "0 flavors"},
		"twice":      {func(d *Description) { d.Flavors = append(d.Flavors, d.Flavors[0]) }, "twice"},
		"type":       {func(d *Description) { d.Flavors[0].Type = "\x1b" }, "both have to be names"},
		"schema":     {func(d *Description) { d.Flavors[0].ConfigSchema = json.RawMessage(`[]`) }, "not a JSON object"},
		"no JSON":    {func(d *Description) { d.Flavors[0].ConfigSchema = json.RawMessage(`{`) }, "not a JSON object"},
		"big schema": {func(d *Description) { d.Flavors[0].ConfigSchema = make([]byte, MaxSchema+1) }, "not a JSON object"},
		"version":    {func(d *Description) { d.Flavors[0].SchemaVersion = 0 }, "schema version"},
		"majors":     {func(d *Description) { d.Flavors[0].Majors = nil }, "majors"},
		"major 0":    {func(d *Description) { d.Flavors[0].Majors = []int{0} }, "major 0"},
		"feature":    {func(d *Description) { d.Flavors[0].Features = []string{"no space"} }, "feature"},
		"env":        {func(d *Description) { d.Flavors[0].Env = []string{"*"} }, "environment variable"},
		"many":       {func(d *Description) { d.Flavors[0].Env = make([]string, 300) }, "at most"},
	}
	if _, err := DescriptionFromProto(DescriptionToProto(good())); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := good()
			tt.spoil(&d)
			if _, err := DescriptionFromProto(DescriptionToProto(d)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	store := StoreFacts{StagingDir: "/s/staging", MaxObject: 5 << 40, LocalView: true, Move: true, Parallel: 8}
	b, err := StoreFactsToJSON(store)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := StoreFactsFromJSON(b); err != nil || got != store {
		t.Errorf("got %+v, %v", got, err)
	}
	orc := OrchestratorFacts{Attached: true, MaxParallel: 4, JobsOutliveHost: true}
	if b, err = OrchestratorFactsToJSON(orc); err != nil {
		t.Fatal(err)
	}
	if got, err := OrchestratorFactsFromJSON(b); err != nil || got != orc {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := StoreFactsFromJSON([]byte(`{"stagingDir":"/s","newer":true}`)); err != nil {
		t.Errorf("a newer plugin's facts: %v", err)
	}
	for _, bad := range []string{`{"stagingDir":"s"}`, `{"stagingDir":"/a/../b"}`, `{"maxObject":"-1"}`, `[`} {
		if _, err := StoreFactsFromJSON([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestOtherRoundTrips(t *testing.T) {
	t.Parallel()
	for _, tr := range []Transfer{TransferCopy, TransferMove, TransferView} {
		put := PutItem{Key: "k", Path: "/p", Size: 3, Digest: "d", Transfer: tr}
		if got := PutItemFromProto(PutItemToProto(put)); got != put {
			t.Errorf("got %+v", got)
		}
		get := GetItem{Key: "k", Path: "/p", Size: 3, Transfer: tr}
		if got := GetItemFromProto(GetItemToProto(get)); got != get {
			t.Errorf("got %+v", got)
		}
	}
	item := ItemResult{Object: Object{Key: "k", Size: 1, Digest: "d", Modified: time.UnixMicro(1234567).UTC()}, Path: "/p"}
	if d := cmp.Diff(item, ItemResultFromProto(ItemResultToProto(item))); d != "" {
		t.Error(d)
	}
	failed := ItemResult{Err: &diag.PluginError{Reason: diag.ErrCorrupt, Retry: diag.RetryNever, Summary: "s"}}
	if d := cmp.Diff(failed, ItemResultFromProto(ItemResultToProto(failed))); d != "" {
		t.Error(d)
	}
	progress := Progress{Done: 1, Total: 2, Unit: "bytes", Message: "m"}
	if got := ProgressFromProto(ProgressToProto(progress)); got != progress {
		t.Errorf("got %+v", got)
	}
	step := PlannedStep{Name: "n", Execution: "attached", Timeout: time.Second, Resources: Resources{CPUs: 1.5, MemoryBytes: 1 << 30, GPUs: 2}}
	if got := PlannedStepFromProto(PlannedStepToProto(step)); got != step {
		t.Errorf("got %+v", got)
	}
	if got := PlannedStepFromProto(PlannedStepToProto(PlannedStep{Timeout: time.Nanosecond})).Timeout; got != time.Millisecond {
		t.Errorf("a short timeout became %s", got)
	}
	finding := StepDiagnostic{Step: "n", Diagnostic: diag.Diagnostic{Severity: diag.SeverityWarning, Summary: "s"}}
	if d := cmp.Diff(finding, StepDiagnosticFromProto(StepDiagnosticToProto(finding))); d != "" {
		t.Error(d)
	}
	configure := ConfigureRequest{
		Instance: "i", Type: "t", Flavor: "f", Config: json.RawMessage(`{}`), Secrets: map[string]string{"a.b": "c"},
		HostFeatures: []string{"h"}, ExchangeRoots: []string{"/r"}, Component: ComponentRef{ID: "id", Name: "n", Revision: 2},
	}
	if d := cmp.Diff(configure, ConfigureRequestFromProto(ConfigureRequestToProto(configure))); d != "" {
		t.Error(d)
	}
}

func TestParseHandshake(t *testing.T) {
	t.Parallel()
	good := []string{
		"1|1|unix|inherited|grpc", "1|1|unix|/run/x/plugin1|grpc|", "1|1|unix|/run/x|grpc||true", "1|2|unix|/x|grpc",
	}
	for _, line := range good {
		if _, err := ParseHandshake(line); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	h := Handshake{Core: 1, Protocol: 1, Network: "unix", Address: "inherited"}
	if got, err := ParseHandshake(h.String()); err != nil || got != h {
		t.Errorf("got %+v, %v", got, err)
	}
	bad := []string{
		"", "1|1|unix|x", "1|1|unix|x|grpc||true|more", "a|1|unix|x|grpc", "1|b|unix|x|grpc", "1|1|tcp|x|grpc",
		"1|1|unix||grpc", "1|1|unix|x|netrpc", "1|1|unix|x|grpc|" + strings.Repeat("A", 60), "1|1|unix|\x1b|grpc",
		"1|1|unix|" + strings.Repeat("x", MaxHandshakeLine) + "|grpc", "1|1|unix|é|grpc",
	}
	for _, line := range bad {
		if _, err := ParseHandshake(line); err == nil {
			t.Errorf("%.40q was accepted", line)
		}
	}
}

func FuzzParseHandshake(f *testing.F) {
	f.Add("1|1|unix|inherited|grpc")
	f.Add("1|1|unix|/a|grpc||true")
	f.Fuzz(func(t *testing.T, line string) {
		h, err := ParseHandshake(line)
		if err != nil {
			return
		}
		if again, err := ParseHandshake(h.String()); err != nil || again != h {
			t.Errorf("%q became %+v, then %+v: %v", line, h, again, err)
		}
	})
}

func TestValidKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"a": true, "h/home/r/run/a.b.out=1": true, "...": true, "a/..b": true, strings.Repeat("k", MaxKey): true,
		"": false, "/a": false, "a/": false, "a//b": false, ".": false, "a/../b": false, "a/.": false, "a b": false,
		"a\n": false, "é": false, strings.Repeat("k", MaxKey+1): false,
	} {
		if got := ValidKey(key); got != want {
			t.Errorf("%.30q: %v", key, got)
		}
	}
}
