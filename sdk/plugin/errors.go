package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"syscall"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/hashicorp/go-hclog"
)

// translate gives errors of the operating system their reason. What has one, or
// is no such error, passes.
func translate(err error) error {
	var pe *diag.PluginError
	var reason diag.Reason
	var de *diag.Error
	if err == nil || errors.As(err, &pe) || errors.As(err, &reason) || errors.As(err, &de) {
		return err
	}
	rows := []struct {
		is     error
		reason diag.Reason
		hint   string
	}{
		{syscall.ENOSPC, diag.ErrExhausted, "make room on the file system"},
		{syscall.EDQUOT, diag.ErrExhausted, "the user's quota of the file system is used up"},
		{syscall.EMFILE, diag.ErrExhausted, "too many files are open; raise the limit (ulimit -n)"},
		{syscall.EROFS, diag.ErrPermissionDenied, "the file system is read-only"},
		{syscall.EIO, diag.ErrUnavailable, "the device reported an error; look at the system's log"},
		{syscall.ENOTDIR, diag.ErrPreconditionFailed, "a file stands where a directory is needed"},
		{syscall.EISDIR, diag.ErrPreconditionFailed, "a directory stands where a file is needed"},
		{fs.ErrNotExist, diag.ErrNotFound, ""},
		{fs.ErrExist, diag.ErrAlreadyExists, ""},
		{fs.ErrPermission, diag.ErrPermissionDenied, ""},
	}
	for _, r := range rows {
		if errors.Is(err, r.is) {
			return &diag.PluginError{Reason: r.reason, Retry: diag.RetryNever, Fault: diag.FaultBackend,
				Summary: err.Error(), Hint: r.hint}
		}
	}
	return err
}

// panicked logs where a flavor's code panicked, and is the error to answer.
func panicked(log hclog.Logger, what string, p any) error {
	log.Error("panic", "call", what, "value", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &diag.PluginError{Reason: diag.ErrInternal, Retry: diag.RetryUnknownOutcome, Fault: diag.FaultPlugin,
		Summary: fmt.Sprintf("the plugin panicked in %s: %v", what, p),
		Hint:    "this is an error in the plugin; its log has the stack"}
}

// refused is what a request that breaks the contract gets.
func refused(format string, args ...any) error {
	return &diag.PluginError{Reason: diag.ErrPreconditionFailed, Retry: diag.RetryNever, Fault: diag.FaultUser,
		Summary: fmt.Sprintf(format, args...)}
}
