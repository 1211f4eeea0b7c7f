package plugin

import (
	"context"
	"io"
	"iter"
	"os"
	"time"
)

// ArtifactStoreType is the component type of artifact stores.
const ArtifactStoreType = "artifact-store"

// ArtifactStore keeps whole objects under keys. An object appears whole or not
// at all, and never changes. Every request is checked before it arrives: keys
// are relative paths of segments [A-Za-z0-9._=-]+, with "/" between them and at
// most 512 bytes. Methods are called side by side, and end soon when their
// context does.
//
// What a store can do beside: Mover, Viewer, RangeReader, Stager, Opener,
// Checker, Closer.
type ArtifactStore interface {
	// Put stores a content under a key. A key that exists is success when it was
	// put with the same digest, and else diag.ErrAlreadyExists. When Put returns
	// the object is durable.
	Put(ctx context.Context, req PutRequest) (Object, error)
	// Get writes an object's content into a file. An absent key is
	// diag.ErrNotFound.
	Get(ctx context.Context, req GetRequest) (Object, error)
	// Stat looks an object up. An absent key is diag.ErrNotFound.
	Stat(ctx context.Context, req StatRequest) (Object, error)
	// List gives the objects whose keys begin with a prefix and stand above
	// After, in ascending order of the keys' bytes. The caller stops when it has
	// enough.
	List(ctx context.Context, req ListRequest) iter.Seq2[Object, error]
	// Delete removes an object. An absent key is success.
	Delete(ctx context.Context, req DeleteRequest) error
}

// Object is what a store knows of a key.
type Object struct {
	Key  string
	Size int64
	// Digest as it was put; empty where the store cannot keep it.
	Digest string
	// Modified is zero where it is not known.
	Modified time.Time
}

// PutRequest asks for a Put.
type PutRequest struct {
	Key string
	// Content is Size bytes, to be read from its start. Reading its end fails
	// where the file changed meanwhile, so that the put fails too.
	Content *Source
	Size    int64
	// Digest names the content; it is to be kept, not computed.
	Digest string
}

// GetRequest asks for a Get.
type GetRequest struct {
	Key string
	// Into is an empty file of the package's own, which takes its name when Get
	// succeeds.
	Into *os.File
}

// StatRequest asks for a Stat.
type StatRequest struct{ Key string }

// ListRequest asks for a List.
type ListRequest struct {
	Prefix string
	After  string
}

// DeleteRequest asks for a Delete.
type DeleteRequest struct{ Key string }

// Mover is a store that can take a file by renaming it.
type Mover interface {
	// Move is Put for a file that the caller gives up. Where the object exists
	// already the file may stay.
	Move(ctx context.Context, req MoveRequest) (Object, error)
}

// MoveRequest asks for a Move.
type MoveRequest struct {
	Key string
	// Path of the file, and the file itself, open: they are the same when Move is
	// called.
	Path    string
	Content *Source
	Size    int64
	Digest  string
}

// Viewer is a store that can hand out the stored file itself, for reading.
type Viewer interface {
	// View gives the absolute path of an object's file.
	View(ctx context.Context, req ViewRequest) (View, error)
}

// ViewRequest asks for a View.
type ViewRequest struct{ Key string }

// View is a stored file.
type View struct {
	Path   string
	Object Object
}

// RangeReader is a store that can read part of an object. Of one that cannot,
// the whole object is fetched.
type RangeReader interface {
	// ReadRange writes Length bytes from Offset on, or all that follow where
	// Length is 0; less where the object ends before.
	ReadRange(ctx context.Context, req RangeRequest) error
}

// RangeRequest asks for a ReadRange.
type RangeRequest struct {
	Key    string
	Offset int64
	Length int64
	Into   io.Writer
}

// Stager is a store with a directory on its own file system for files that will
// be moved into it.
type Stager interface {
	// StagingDir is absolute, and exists from Open on.
	StagingDir() string
}

// Limiter is a store whose objects have a largest size.
type Limiter interface {
	// MaxObject is that size in bytes.
	MaxObject() int64
}

// ArtifactStoreFlavor is a flavor of artifact store. open makes a store from a
// configuration that passed the schema of C, with the values of its secrets; it
// makes no network call and touches no files: that is Opener's part. Return the
// store's own type, not the interface, so that its optional methods are known
// before a store is made.
func ArtifactStoreFlavor[C any, S ArtifactStore](
	name, summary string, open func(ctx context.Context, cfg C, in Instance) (S, error), opts ...Option,
) Flavor {
	f := newFlavor(ArtifactStoreType, name, summary, open, opts)
	var zero S
	f.features = featuresOf(any(zero))
	return f
}

// featuresOf names the optional interfaces that a type has.
func featuresOf(impl any) []string {
	features := []string{}
	add := func(name string, has bool) {
		if has {
			features = append(features, name)
		}
	}
	_, checks := impl.(Checker)
	add("check", checks)
	_, moves := impl.(Mover)
	add("move", moves)
	_, opens := impl.(Opener)
	add("open", opens)
	_, reads := impl.(RangeReader)
	add("read_range", reads)
	_, stages := impl.(Stager)
	add("staging", stages)
	_, views := impl.(Viewer)
	add("view", views)
	return features
}
