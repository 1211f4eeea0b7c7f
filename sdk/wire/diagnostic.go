package wire

import (
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const (
	maxDiagText = 4 << 10
	maxDiagPath = 512
)

// DiagnosticToProto converts a diagnostic.
func DiagnosticToProto(d diag.Diagnostic) *commonv1.Diagnostic {
	severity := commonv1.Severity_SEVERITY_ERROR
	if d.Severity == diag.SeverityWarning {
		severity = commonv1.Severity_SEVERITY_WARNING
	}
	return &commonv1.Diagnostic{
		Severity: severity,
		Summary:  truncate(d.Summary, maxDiagText),
		Detail:   truncate(d.Detail, maxDiagText),
		Path:     truncate(d.Path, maxDiagPath),
		Fault:    faultToProto(d.Fault),
		Hint:     truncate(d.Hint, maxDiagText),
	}
}

// DiagnosticFromProto converts a diagnostic; one of unknown severity is an
// error.
func DiagnosticFromProto(p *commonv1.Diagnostic) diag.Diagnostic {
	severity := diag.SeverityError
	if p.GetSeverity() == commonv1.Severity_SEVERITY_WARNING {
		severity = diag.SeverityWarning
	}
	return diag.Diagnostic{
		Severity: severity,
		Summary:  clean(p.GetSummary(), maxDiagText),
		Detail:   clean(p.GetDetail(), maxDiagText),
		Path:     clean(p.GetPath(), maxDiagPath),
		Fault:    faultFromProto(p.GetFault()),
		Hint:     clean(p.GetHint(), maxDiagText),
	}
}

// DiagnosticsToProto converts a list; what is beyond MaxDiagnostics is dropped,
// warnings before errors.
func DiagnosticsToProto(l diag.List) []*commonv1.Diagnostic {
	if len(l) > MaxDiagnostics {
		kept := make(diag.List, 0, len(l))
		for _, want := range []diag.Severity{diag.SeverityError, diag.SeverityWarning} {
			for _, d := range l {
				if (d.Severity == diag.SeverityWarning) == (want == diag.SeverityWarning) {
					kept = append(kept, d)
				}
			}
		}
		l = kept[:MaxDiagnostics]
	}
	out := make([]*commonv1.Diagnostic, 0, len(l))
	for _, d := range l {
		out = append(out, DiagnosticToProto(d))
	}
	return out
}

// DiagnosticsFromProto converts a list; what is beyond MaxDiagnostics is
// dropped, but that there was an error is kept.
func DiagnosticsFromProto(ps []*commonv1.Diagnostic) diag.List {
	if len(ps) == 0 {
		return nil
	}
	out := make(diag.List, 0, min(len(ps), MaxDiagnostics))
	for _, p := range ps {
		d := DiagnosticFromProto(p)
		if len(out) < MaxDiagnostics {
			out = append(out, d)
			continue
		}
		if d.Severity == diag.SeverityError && !out.HasError() {
			out[MaxDiagnostics-1] = d
			break
		}
	}
	return out
}
