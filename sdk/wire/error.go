package wire

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Shares of MaxError. The status repeats the start of the summary as its
// message, which gRPC sends beside the detail.
const (
	maxErrSummary = 1600
	maxErrHint    = 800
	maxErrPath    = 200
	maxErrMessage = 200
)

// AsPluginError gives the PluginError that err is on the wire: itself, or one
// made from a wrapped diag.Reason, a diag.Error, an error of a context or a
// gRPC status. Anything else is internal, a fault of the plugin. Context that
// err adds around a PluginError stays in the summary. Nil gives nil.
func AsPluginError(err error) *diag.PluginError {
	if err == nil {
		return nil
	}
	var pe *diag.PluginError
	var reason diag.Reason
	var de *diag.Error
	switch {
	case errors.As(err, &pe):
		c := *pe
		if err != error(pe) {
			c.Summary = err.Error()
		}
		return &c
	case errors.As(err, &reason):
		return &diag.PluginError{Reason: reason, Retry: diag.RetryNever, Summary: err.Error()}
	case errors.As(err, &de):
		return &diag.PluginError{Reason: reasonOfCode(de.Code), Retry: diag.RetryNever, Summary: err.Error(), Hint: de.Hint}
	case errors.Is(err, context.Canceled):
		return &diag.PluginError{Reason: diag.ErrCanceled, Retry: diag.RetryNever, Summary: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &diag.PluginError{Reason: diag.ErrTimeout, Retry: diag.RetryUnknownOutcome, Summary: err.Error()}
	}
	if s, ok := status.FromError(err); ok {
		return &diag.PluginError{Reason: reasonOfStatus(s.Code()), Retry: diag.RetryNever, Summary: s.Message()}
	}
	return &diag.PluginError{Reason: diag.ErrInternal, Retry: diag.RetryNever, Fault: diag.FaultPlugin, Summary: err.Error()}
}

func reasonOfCode(c diag.Code) diag.Reason {
	switch c {
	case diag.Invalid:
		return diag.ErrInvalidConfig
	case diag.NotFound:
		return diag.ErrNotFound
	case diag.Refused:
		return diag.ErrPreconditionFailed
	case diag.Cancelled:
		return diag.ErrCanceled
	}
	return diag.ErrInternal
}

// ErrorToProto is the detail that stands for err; nil for nil.
func ErrorToProto(err error) *commonv1.Error {
	pe := AsPluginError(err)
	if pe == nil {
		return nil
	}
	return &commonv1.Error{
		Reason:       reasonToProto(pe.Reason),
		Retry:        retryToProto(pe.Retry),
		RetryAfterMs: max(0, pe.Wait.Milliseconds()),
		Fault:        faultToProto(pe.Fault),
		Summary:      truncate(pe.Summary, maxErrSummary),
		Hint:         truncate(pe.Hint, maxErrHint),
		Path:         truncate(pe.Path, maxErrPath),
	}
}

// ErrorFromProto is what a detail says; nil for nil.
func ErrorFromProto(p *commonv1.Error) *diag.PluginError {
	if p == nil {
		return nil
	}
	pe := &diag.PluginError{
		Reason:  reasonFromProto(p.GetReason()),
		Retry:   retryFromProto(p.GetRetry()),
		Fault:   faultFromProto(p.GetFault()),
		Summary: clean(p.GetSummary(), maxErrSummary),
		Hint:    clean(p.GetHint(), maxErrHint),
		Path:    clean(p.GetPath(), maxErrPath),
	}
	if ms := p.GetRetryAfterMs(); ms > 0 && ms < math.MaxInt64/int64(time.Millisecond) {
		pe.Wait = time.Duration(ms) * time.Millisecond
	}
	return pe
}

// ToStatus is err as a plugin returns it from a gRPC method: a status with one
// commonv1.Error, at most MaxError bytes in all. Nil gives nil.
func ToStatus(err error) error {
	p := ErrorToProto(err)
	if p == nil {
		return nil
	}
	s := status.New(codeOfReason(reasonFromProto(p.GetReason())), truncate(p.GetSummary(), maxErrMessage))
	if d, derr := s.WithDetails(p); derr == nil {
		s = d
	}
	return s.Err()
}

// FromStatus is the error of a call as the caller gets it: a *diag.PluginError,
// with the reason of the status code where the status has no detail. Nil gives
// nil.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return AsPluginError(err)
	}
	for _, d := range s.Details() {
		if p, ok := d.(*commonv1.Error); ok {
			return ErrorFromProto(p)
		}
	}
	pe := &diag.PluginError{Reason: reasonOfStatus(s.Code()), Retry: diag.RetryNever, Fault: diag.FaultPlugin, Summary: clean(s.Message(), maxErrSummary)}
	if pe.Reason == diag.ErrUnavailable || pe.Reason == diag.ErrTimeout {
		pe.Retry = diag.RetryUnknownOutcome
	}
	return pe
}

type reasonRow struct {
	reason diag.Reason
	proto  commonv1.Reason
	code   codes.Code
}

// reasonRows is the one table of reasons.
func reasonRows() []reasonRow {
	return []reasonRow{
		{diag.ErrNotFound, commonv1.Reason_REASON_NOT_FOUND, codes.NotFound},
		{diag.ErrAlreadyExists, commonv1.Reason_REASON_ALREADY_EXISTS, codes.AlreadyExists},
		{diag.ErrPreconditionFailed, commonv1.Reason_REASON_PRECONDITION_FAILED, codes.FailedPrecondition},
		{diag.ErrInvalidConfig, commonv1.Reason_REASON_INVALID_CONFIG, codes.InvalidArgument},
		{diag.ErrUnauthenticated, commonv1.Reason_REASON_UNAUTHENTICATED, codes.Unauthenticated},
		{diag.ErrPermissionDenied, commonv1.Reason_REASON_PERMISSION_DENIED, codes.PermissionDenied},
		{diag.ErrExhausted, commonv1.Reason_REASON_EXHAUSTED, codes.ResourceExhausted},
		{diag.ErrUnavailable, commonv1.Reason_REASON_UNAVAILABLE, codes.Unavailable},
		{diag.ErrTimeout, commonv1.Reason_REASON_TIMEOUT, codes.DeadlineExceeded},
		{diag.ErrThrottled, commonv1.Reason_REASON_THROTTLED, codes.ResourceExhausted},
		{diag.ErrCorrupt, commonv1.Reason_REASON_CORRUPT, codes.DataLoss},
		{diag.ErrUnsupported, commonv1.Reason_REASON_UNSUPPORTED, codes.Unimplemented},
		{diag.ErrNotConfigured, commonv1.Reason_REASON_NOT_CONFIGURED, codes.FailedPrecondition},
		{diag.ErrAmbiguous, commonv1.Reason_REASON_AMBIGUOUS, codes.Aborted},
		{diag.ErrCanceled, commonv1.Reason_REASON_CANCELED, codes.Canceled},
		{diag.ErrInternal, commonv1.Reason_REASON_INTERNAL, codes.Internal},
	}
}

func reasonToProto(r diag.Reason) commonv1.Reason {
	for _, row := range reasonRows() {
		if row.reason == r {
			return row.proto
		}
	}
	return commonv1.Reason_REASON_INTERNAL
}

func reasonFromProto(p commonv1.Reason) diag.Reason {
	for _, row := range reasonRows() {
		if row.proto == p {
			return row.reason
		}
	}
	return diag.ErrInternal
}

func codeOfReason(r diag.Reason) codes.Code {
	for _, row := range reasonRows() {
		if row.reason == r {
			return row.code
		}
	}
	return codes.Internal
}

func reasonOfStatus(c codes.Code) diag.Reason {
	for _, row := range reasonRows() {
		if row.code == c {
			return row.reason
		}
	}
	return diag.ErrInternal
}

func retryToProto(r diag.Retry) commonv1.Retry {
	switch r {
	case diag.RetryAfter:
		return commonv1.Retry_RETRY_AFTER
	case diag.RetryUnknownOutcome:
		return commonv1.Retry_RETRY_UNKNOWN_OUTCOME
	}
	return commonv1.Retry_RETRY_NEVER
}

func retryFromProto(p commonv1.Retry) diag.Retry {
	switch p {
	case commonv1.Retry_RETRY_AFTER:
		return diag.RetryAfter
	case commonv1.Retry_RETRY_UNKNOWN_OUTCOME:
		return diag.RetryUnknownOutcome
	}
	return diag.RetryNever
}

func faultToProto(f diag.Fault) commonv1.Fault {
	switch f {
	case diag.FaultUser:
		return commonv1.Fault_FAULT_USER
	case diag.FaultConfig:
		return commonv1.Fault_FAULT_CONFIG
	case diag.FaultBackend:
		return commonv1.Fault_FAULT_BACKEND
	case diag.FaultPlugin:
		return commonv1.Fault_FAULT_PLUGIN
	}
	return commonv1.Fault_FAULT_UNSPECIFIED
}

func faultFromProto(p commonv1.Fault) diag.Fault {
	switch p {
	case commonv1.Fault_FAULT_USER:
		return diag.FaultUser
	case commonv1.Fault_FAULT_CONFIG:
		return diag.FaultConfig
	case commonv1.Fault_FAULT_BACKEND:
		return diag.FaultBackend
	case commonv1.Fault_FAULT_PLUGIN:
		return diag.FaultPlugin
	}
	return ""
}
