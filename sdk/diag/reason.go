package diag

import "time"

// Reason is why a call of the plugin API failed: a closed list, the same on
// both sides of the wire. A Reason is an error, so errors.Is(err,
// diag.ErrNotFound) holds for a PluginError of that reason.
type Reason string

// Error is the reason's name.
func (r Reason) Error() string { return string(r) }

// The reasons.
const (
	ErrNotFound           Reason = "not_found"
	ErrAlreadyExists      Reason = "already_exists"
	ErrPreconditionFailed Reason = "precondition_failed"
	ErrInvalidConfig      Reason = "invalid_config"
	ErrUnauthenticated    Reason = "unauthenticated"
	ErrPermissionDenied   Reason = "permission_denied"
	ErrThrottled          Reason = "throttled"
	ErrUnavailable        Reason = "unavailable"
	ErrTimeout            Reason = "timeout"
	ErrExhausted          Reason = "exhausted"
	ErrCorrupt            Reason = "corrupt"
	ErrUnsupported        Reason = "unsupported"
	ErrNotConfigured      Reason = "not_configured"
	ErrAmbiguous          Reason = "ambiguous"
	ErrCanceled           Reason = "canceled"
	ErrInternal           Reason = "internal"
)

// Retry says whether the same call may be made again.
type Retry string

// The kinds of retry.
const (
	RetryNever          Retry = "never"
	RetryAfter          Retry = "after"
	RetryUnknownOutcome Retry = "unknown_outcome"
)

// PluginError is an error of the plugin API. Plugin authors return one (or
// wrap a Reason with fmt.Errorf and %w); the host gets it back as it was.
type PluginError struct {
	Reason Reason
	// Retry defaults to never.
	Retry Retry
	// Wait goes with RetryAfter.
	Wait  time.Duration
	Fault Fault
	// Summary is one line: what failed, on which object, and why.
	Summary string
	Hint    string
	// Path is the attribute of the config that it is about.
	Path string
}

// Error is the summary, or the reason where there is none.
func (e *PluginError) Error() string {
	if e.Summary == "" {
		return string(e.Reason)
	}
	return e.Summary
}

// Is matches a Reason.
func (e *PluginError) Is(target error) bool {
	r, ok := target.(Reason)
	return ok && r == e.Reason
}
