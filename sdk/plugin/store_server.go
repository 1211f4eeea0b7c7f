package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
	"google.golang.org/grpc"
)

// storeServer serves the artifact stores among the instances.
type storeServer struct {
	artifactstorev1.UnimplementedArtifactStoreServiceServer
	instances *instances
}

// storeCall is a call on one store.
type storeCall struct {
	*instance
	store ArtifactStore
}

func (s *storeServer) begin(ctx context.Context, id string) (storeCall, context.Context, func(), error) {
	i, ctx, end, err := s.instances.begin(ctx, id)
	if err != nil {
		return storeCall{}, nil, nil, err
	}
	store, ok := i.impl.(ArtifactStore)
	if !ok {
		end()
		return storeCall{}, nil, nil, refused("the instance %q is no artifact store", id)
	}
	return storeCall{i, store}, ctx, end, nil
}

// PutFiles stores local files.
func (s *storeServer) PutFiles(req *artifactstorev1.PutFilesRequest, stream grpc.ServerStreamingServer[artifactstorev1.PutFilesResponse]) error {
	c, ctx, end, err := s.begin(stream.Context(), req.GetInstance())
	if err != nil {
		return wire.ToStatus(err)
	}
	defer end()
	var total int64
	for _, item := range req.GetItems() {
		total += max(0, item.GetSize())
	}
	results, err := runBatch(ctx, c.flavor.parallel, req.GetItems(), total, func(p wire.Progress) error {
		return stream.Send(&artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Progress{Progress: wire.ProgressToProto(p)}})
	}, func(ctx context.Context, item *artifactstorev1.PutItem) (*artifactstorev1.ItemResult, int64) {
		i := wire.PutItemFromProto(item)
		o, err := c.putFile(ctx, i)
		return itemResult(wire.ItemResult{Object: wireObject(o)}, err), i.Size
	})
	if err != nil {
		return toStatus(ctx, err)
	}
	return stream.Send(&artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Result{
		Result: &artifactstorev1.PutFilesResult{Items: results},
	}})
}

func (c storeCall) putFile(ctx context.Context, i wire.PutItem) (Object, error) {
	if err := checkPut(i.Key, i.Digest, i.Size); err != nil {
		return Object{}, err
	}
	src, err := c.openSource(i.Path, i.Size)
	if err != nil {
		return Object{}, err
	}
	var o Object
	mover, moves := c.impl.(Mover)
	err = guard(ctx, c.log, "Put", func() (err error) {
		defer src.file.Close()
		if moves && i.Transfer == wire.TransferMove {
			o, err = mover.Move(ctx, MoveRequest{Key: i.Key, Path: i.Path, Content: src, Size: i.Size, Digest: i.Digest})
			return err
		}
		o, err = c.store.Put(ctx, PutRequest{Key: i.Key, Content: src, Size: i.Size, Digest: i.Digest})
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return sameAsAsked(o, i.Key, i.Size)
}

func checkPut(key, digest string, size int64) error {
	switch {
	case !wire.ValidKey(key):
		return refused("%q is not a key", key)
	case !wire.ValidDigest(digest):
		return refused("%q is not a digest", digest)
	case size < 0:
		return refused("%s has the size %d", key, size)
	}
	return nil
}

// sameAsAsked catches an author's mistake before the host does.
func sameAsAsked(o Object, key string, size int64) (Object, error) {
	if o.Key != key || size >= 0 && o.Size != size {
		return Object{}, &diag.PluginError{Reason: diag.ErrInternal, Retry: diag.RetryUnknownOutcome, Fault: diag.FaultPlugin,
			Summary: fmt.Sprintf("the store answered with object %q of %d bytes when asked for %q of %d", o.Key, o.Size, key, size),
			Hint:    "this is an error in the plugin; report it to its developer"}
	}
	return o, nil
}

// GetFiles brings objects to local paths.
func (s *storeServer) GetFiles(req *artifactstorev1.GetFilesRequest, stream grpc.ServerStreamingServer[artifactstorev1.GetFilesResponse]) error {
	c, ctx, end, err := s.begin(stream.Context(), req.GetInstance())
	if err != nil {
		return wire.ToStatus(err)
	}
	defer end()
	var total int64
	for _, item := range req.GetItems() {
		total += max(0, item.GetSize())
	}
	results, err := runBatch(ctx, c.flavor.parallel, req.GetItems(), total, func(p wire.Progress) error {
		return stream.Send(&artifactstorev1.GetFilesResponse{Event: &artifactstorev1.GetFilesResponse_Progress{Progress: wire.ProgressToProto(p)}})
	}, func(ctx context.Context, item *artifactstorev1.GetItem) (*artifactstorev1.ItemResult, int64) {
		i := wire.GetItemFromProto(item)
		r, err := c.getFile(ctx, i)
		return itemResult(r, err), i.Size
	})
	if err != nil {
		return toStatus(ctx, err)
	}
	return stream.Send(&artifactstorev1.GetFilesResponse{Event: &artifactstorev1.GetFilesResponse_Result{
		Result: &artifactstorev1.GetFilesResult{Items: results},
	}})
}

func (c storeCall) getFile(ctx context.Context, i wire.GetItem) (wire.ItemResult, error) {
	if !wire.ValidKey(i.Key) {
		return wire.ItemResult{}, refused("%q is not a key", i.Key)
	}
	if v, ok := c.impl.(Viewer); ok && i.Transfer == wire.TransferView {
		return c.view(ctx, v, i)
	}
	t, err := c.newTarget(i.Path)
	if err != nil {
		return wire.ItemResult{}, err
	}
	defer t.close()
	o, err := c.fetch(ctx, i.Key, t.file)
	if err != nil {
		return wire.ItemResult{}, err
	}
	if err := t.commit(i.Size); err != nil {
		return wire.ItemResult{}, err
	}
	return wire.ItemResult{Object: wireObject(o), Path: i.Path}, nil
}

func (c storeCall) view(ctx context.Context, v Viewer, i wire.GetItem) (wire.ItemResult, error) {
	var view View
	err := guard(ctx, c.log, "View", func() (err error) {
		view, err = v.View(ctx, ViewRequest{Key: i.Key})
		return err
	})
	if err != nil {
		return wire.ItemResult{}, err
	}
	if view.Object.Size != i.Size {
		return wire.ItemResult{}, &diag.PluginError{Reason: diag.ErrCorrupt, Retry: diag.RetryNever, Fault: diag.FaultBackend,
			Summary: fmt.Sprintf("object %s has %d bytes, not the %d that are expected", i.Key, view.Object.Size, i.Size)}
	}
	if _, err := sameAsAsked(view.Object, i.Key, i.Size); err != nil {
		return wire.ItemResult{}, err
	}
	return wire.ItemResult{Object: wireObject(view.Object), Path: view.Path}, nil
}

func (c storeCall) fetch(ctx context.Context, key string, into *os.File) (Object, error) {
	var o Object
	err := guard(ctx, c.log, "Get", func() (err error) {
		o, err = c.store.Get(ctx, GetRequest{Key: key, Into: into})
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return sameAsAsked(o, key, -1)
}

// ReadRange streams part of an object.
func (s *storeServer) ReadRange(req *artifactstorev1.ReadRangeRequest, stream grpc.ServerStreamingServer[artifactstorev1.ReadRangeResponse]) error {
	c, ctx, end, err := s.begin(stream.Context(), req.GetInstance())
	if err != nil {
		return wire.ToStatus(err)
	}
	defer end()
	r := RangeRequest{Key: req.GetKey(), Offset: req.GetOffset(), Length: req.GetLength()}
	if !wire.ValidKey(r.Key) || r.Offset < 0 || r.Length < 0 {
		return wire.ToStatus(refused("%d bytes from %d of %q are not a range", r.Length, r.Offset, r.Key))
	}
	out := &chunkWriter{ctx: ctx, send: func(p []byte) error {
		return stream.Send(&artifactstorev1.ReadRangeResponse{Data: p})
	}}
	if r.Length > 0 {
		out.left, out.limited = r.Length, true
	}
	r.Into = out
	if rr, ok := c.impl.(RangeReader); ok {
		return toStatus(ctx, guard(ctx, c.log, "ReadRange", func() error { return rr.ReadRange(ctx, r) }))
	}
	return toStatus(ctx, c.readWhole(ctx, r))
}

// readWhole serves a range of a store that only gives whole objects.
func (c storeCall) readWhole(ctx context.Context, r RangeRequest) error {
	f, err := os.CreateTemp("", "cairn-range-*")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := c.fetch(ctx, r.Key, f); err != nil {
		return err
	}
	if _, err := f.Seek(r.Offset, io.SeekStart); err != nil {
		return err
	}
	var from io.Reader = f
	if r.Length > 0 {
		from = io.LimitReader(f, r.Length)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{r.Into}, struct{ io.Reader }{from}, make([]byte, wire.MaxChunk))
	return err
}

// chunkWriter sends what is written to it in messages of a possible size, and no
// more than was asked for.
type chunkWriter struct {
	ctx     context.Context
	send    func([]byte) error
	left    int64
	limited bool
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	if w.limited && int64(len(p)) > w.left {
		return 0, refused("the store gave more bytes than were asked for")
	}
	written := 0
	for len(p) > 0 {
		if err := w.ctx.Err(); err != nil {
			return written, err
		}
		n := min(len(p), wire.MaxChunk)
		if err := w.send(p[:n]); err != nil {
			return written, err
		}
		written, p, w.left = written+n, p[n:], w.left-int64(n)
	}
	return written, nil
}

// PutBytes stores a small object.
func (s *storeServer) PutBytes(ctx context.Context, req *artifactstorev1.PutBytesRequest) (*artifactstorev1.PutBytesResponse, error) {
	c, ctx, end, err := s.begin(ctx, req.GetInstance())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	size := int64(len(req.GetData()))
	if size > wire.MaxPutBytes {
		return nil, wire.ToStatus(refused("%d bytes are too many for PutBytes", size))
	}
	if err := checkPut(req.GetKey(), req.GetDigest(), size); err != nil {
		return nil, wire.ToStatus(err)
	}
	o, err := c.putBytes(ctx, req.GetKey(), req.GetData(), req.GetDigest())
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	return &artifactstorev1.PutBytesResponse{Object: wire.ObjectToProto(wireObject(o))}, nil
}

func (c storeCall) putBytes(ctx context.Context, key string, data []byte, digest string) (Object, error) {
	var o Object
	err := guard(ctx, c.log, "Put", func() (err error) {
		o, err = c.store.Put(ctx, PutRequest{Key: key, Content: sourceOfBytes(data), Size: int64(len(data)), Digest: digest})
		return err
	})
	if err != nil {
		return Object{}, err
	}
	return sameAsAsked(o, key, int64(len(data)))
}

// Stat looks objects up.
func (s *storeServer) Stat(ctx context.Context, req *artifactstorev1.StatRequest) (*artifactstorev1.StatResponse, error) {
	items, err := s.byKey(ctx, req.GetInstance(), req.GetKeys(), func(ctx context.Context, c storeCall, key string) (Object, error) {
		var o Object
		err := guard(ctx, c.log, "Stat", func() (err error) {
			o, err = c.store.Stat(ctx, StatRequest{Key: key})
			return err
		})
		if err != nil {
			return Object{}, err
		}
		return sameAsAsked(o, key, -1)
	})
	return &artifactstorev1.StatResponse{Items: items}, err
}

// Delete removes objects.
func (s *storeServer) Delete(ctx context.Context, req *artifactstorev1.DeleteRequest) (*artifactstorev1.DeleteResponse, error) {
	items, err := s.byKey(ctx, req.GetInstance(), req.GetKeys(), func(ctx context.Context, c storeCall, key string) (Object, error) {
		return Object{Key: key}, guard(ctx, c.log, "Delete", func() error {
			return c.store.Delete(ctx, DeleteRequest{Key: key})
		})
	})
	return &artifactstorev1.DeleteResponse{Items: items}, err
}

// byKey does something with each key, side by side.
func (s *storeServer) byKey(
	ctx context.Context, id string, keys []string, do func(context.Context, storeCall, string) (Object, error),
) ([]*artifactstorev1.ItemResult, error) {
	c, ctx, end, err := s.begin(ctx, id)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	items, err := runBatch(ctx, c.flavor.parallel, keys, 0, nil, func(ctx context.Context, key string) (*artifactstorev1.ItemResult, int64) {
		if !wire.ValidKey(key) {
			return itemResult(wire.ItemResult{}, refused("%q is not a key", key)), 0
		}
		o, err := do(ctx, c, key)
		return itemResult(wire.ItemResult{Object: wireObject(o)}, err), 0
	})
	return items, toStatus(ctx, err)
}

// List gives a page of objects.
func (s *storeServer) List(ctx context.Context, req *artifactstorev1.ListRequest) (*artifactstorev1.ListResponse, error) {
	c, ctx, end, err := s.begin(ctx, req.GetInstance())
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	defer end()
	limit := int(req.GetLimit())
	if limit <= 0 || limit > wire.MaxBatch {
		limit = wire.MaxBatch
	}
	page := &artifactstorev1.ListResponse{}
	err = guard(ctx, c.log, "List", func() error {
		for o, err := range c.store.List(ctx, ListRequest{Prefix: req.GetPrefix(), After: req.GetAfter()}) {
			if err != nil {
				return err
			}
			if len(page.Objects) == limit {
				page.More = true
				return nil
			}
			page.Objects = append(page.Objects, wire.ObjectToProto(wireObject(o)))
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	return page, nil
}

func wireObject(o Object) wire.Object { return wire.Object(o) }

func itemResult(r wire.ItemResult, err error) *artifactstorev1.ItemResult {
	if err != nil {
		r = wire.ItemResult{Err: wire.AsPluginError(translate(err))}
	}
	return wire.ItemResultToProto(r)
}

// storeFacts is what an artifact store's type and methods say.
func storeFacts(i *instance) (wire.StoreFacts, error) {
	f := wire.StoreFacts{Parallel: i.flavor.parallel}
	_, f.Move = i.impl.(Mover)
	_, f.LocalView = i.impl.(Viewer)
	if l, ok := i.impl.(Limiter); ok {
		f.MaxObject = l.MaxObject()
	}
	if s, ok := i.impl.(Stager); ok {
		f.StagingDir = s.StagingDir()
		if !filepath.IsAbs(f.StagingDir) || filepath.Clean(f.StagingDir) != f.StagingDir {
			return f, &diag.PluginError{Reason: diag.ErrInternal, Fault: diag.FaultPlugin,
				Summary: fmt.Sprintf("the staging directory %q is not an absolute path", f.StagingDir)}
		}
	}
	return f, nil
}
