package plugin

import (
	"context"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Opener is a flavor with something to do, or to tell, before it is first used:
// it is called when a stack is opened, and may be called again.
type Opener interface {
	// Open gives the identity of what is behind the component, the same from
	// every machine: of an artifact store, the random id in a marker that the
	// first Open made.
	Open(ctx context.Context, req OpenRequest) (Opened, error)
}

// OpenRequest asks for an Open.
type OpenRequest struct {
	// HomeID identifies the host's home.
	HomeID string
}

// Opened is what an Open found.
type Opened struct{ Identity string }

// Checker is a flavor that can look whether what is behind it works. An artifact
// store without it is checked by its own methods.
type Checker interface {
	// Check looks, and gives what is wrong; an error alone says it as well.
	Check(ctx context.Context, req CheckRequest) (diag.List, error)
}

// CheckRequest asks for a Check.
type CheckRequest struct {
	// RoundTrip asks for a write, a read and a delete, not only for an answer.
	RoundTrip bool
}

// Closer is a flavor with something to give back when its component is no longer
// used.
type Closer interface {
	Close() error
}
