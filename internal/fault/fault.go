// Package fault holds the named points at which a test makes cairn fail. In a
// release they are compiled out; the build tag faults puts them in.
//
// CAIRN_FAULT=POINT:N:ACTION acts at the N-th hit (from 1) of a point in this
// process: kill (SIGKILL to itself), error (Hit returns ErrInjected), stop
// (SIGSTOP to itself) or delay=DURATION. CAIRN_FAULT_RECORD=FILE appends a line
// "POINT N" for each hit.
package fault

import "errors"

// ErrInjected is what Hit returns for the action error.
var ErrInjected = errors.New("injected fault")
