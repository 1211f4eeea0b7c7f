package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// ArtifactStoreClient calls an artifact store instance. Batches of any length
// are sent in parts of at most MaxBatch; results come in the order of the
// items, one for each. Errors are as those of Client. Safe for concurrent use.
type ArtifactStoreClient struct {
	rpc      artifactstorev1.ArtifactStoreServiceClient
	instance string
	t        timeouts
}

// NewArtifactStoreClient makes a client of an instance on a connection.
func NewArtifactStoreClient(cc grpc.ClientConnInterface, instance string) *ArtifactStoreClient {
	return &ArtifactStoreClient{
		rpc: artifactstorev1.NewArtifactStoreServiceClient(cc), instance: instance, t: defaultTimeouts(),
	}
}

// PutFiles stores local files. progress may be nil; it is called in turn.
func (c *ArtifactStoreClient) PutFiles(ctx context.Context, items []PutItem, progress func(Progress)) ([]ItemResult, error) {
	for _, i := range items {
		if err := checkItem(i.Key, i.Path, i.Size); err != nil {
			return nil, err
		}
		if !ValidDigest(i.Digest) {
			return nil, callerError("%q is not a digest", i.Digest)
		}
	}
	return inBatches(items, func(part []PutItem) ([]ItemResult, error) {
		req := &artifactstorev1.PutFilesRequest{Instance: c.instance}
		for _, i := range part {
			req.Items = append(req.Items, PutItemToProto(i))
		}
		res, err := long(ctx, c.t.silence, "PutFiles", progress, func(ctx context.Context) (grpc.ServerStreamingClient[artifactstorev1.PutFilesResponse], error) {
			return c.rpc.PutFiles(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		return itemResults("PutFiles", len(part), res.GetResult().GetItems(), func(n int, r ItemResult) error {
			if err := sameObject(r.Object, part[n].Key, part[n].Size); err != nil {
				return err
			}
			if r.Object.Digest != "" && r.Object.Digest != part[n].Digest {
				return fmt.Errorf("%s has another digest than the one that was put", part[n].Key)
			}
			return nil
		})
	})
}

// GetFiles brings objects to local paths. An object of another size than
// expected is corrupt. progress may be nil.
func (c *ArtifactStoreClient) GetFiles(ctx context.Context, items []GetItem, progress func(Progress)) ([]ItemResult, error) {
	for _, i := range items {
		if err := checkItem(i.Key, i.Path, i.Size); err != nil {
			return nil, err
		}
	}
	return inBatches(items, func(part []GetItem) ([]ItemResult, error) {
		req := &artifactstorev1.GetFilesRequest{Instance: c.instance}
		for _, i := range part {
			req.Items = append(req.Items, GetItemToProto(i))
		}
		res, err := long(ctx, c.t.silence, "GetFiles", progress, func(ctx context.Context) (grpc.ServerStreamingClient[artifactstorev1.GetFilesResponse], error) {
			return c.rpc.GetFiles(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		return itemResults("GetFiles", len(part), res.GetResult().GetItems(), func(n int, r ItemResult) error {
			if err := sameObject(r.Object, part[n].Key, part[n].Size); err != nil {
				return err
			}
			if r.Path == part[n].Path {
				return nil
			}
			if part[n].Transfer != TransferView || !cleanPath(r.Path) {
				return fmt.Errorf("%s was brought to another path than the one asked for", part[n].Key)
			}
			return nil
		})
	})
}

// Stat looks up objects; an absent one has the error not_found.
func (c *ArtifactStoreClient) Stat(ctx context.Context, keys []string) ([]ItemResult, error) {
	return c.byKey(keys, func(part []string) ([]ItemResult, error) {
		res, err := call(ctx, c.t.quick, "Stat", c.rpc.Stat, &artifactstorev1.StatRequest{Instance: c.instance, Keys: part})
		if err != nil {
			return nil, err
		}
		return itemResults("Stat", len(part), res.GetItems(), func(n int, r ItemResult) error {
			return sameObject(r.Object, part[n], -1)
		})
	})
}

// Delete removes objects; an absent one is success.
func (c *ArtifactStoreClient) Delete(ctx context.Context, keys []string) ([]ItemResult, error) {
	return c.byKey(keys, func(part []string) ([]ItemResult, error) {
		res, err := call(ctx, c.t.quick, "Delete", c.rpc.Delete, &artifactstorev1.DeleteRequest{Instance: c.instance, Keys: part})
		if err != nil {
			return nil, err
		}
		return itemResults("Delete", len(part), res.GetItems(), func(int, ItemResult) error { return nil })
	})
}

func (c *ArtifactStoreClient) byKey(keys []string, do func([]string) ([]ItemResult, error)) ([]ItemResult, error) {
	for _, k := range keys {
		if !ValidKey(k) {
			return nil, callerError("%q is not a key", k)
		}
	}
	return inBatches(keys, do)
}

// ListPage is one page of keys in ascending order.
type ListPage struct {
	Objects []Object
	// More: ask again after the last key.
	More bool
}

// List gives a page of the keys that begin with prefix and stand above after.
// limit 0 lets the plugin choose; at most MaxBatch.
func (c *ArtifactStoreClient) List(ctx context.Context, prefix, after string, limit int) (ListPage, error) {
	limit = max(0, min(limit, MaxBatch))
	res, err := call(ctx, c.t.quick, "List", c.rpc.List, &artifactstorev1.ListRequest{
		Instance: c.instance, Prefix: prefix, After: after, Limit: uint32(limit),
	})
	if err != nil {
		return ListPage{}, err
	}
	if limit == 0 {
		limit = MaxBatch
	}
	if n := len(res.GetObjects()); n > limit || n == 0 && res.GetMore() {
		return ListPage{}, broken("List", "a page of %d keys", n)
	}
	page := ListPage{More: res.GetMore()}
	last := after
	for _, p := range res.GetObjects() {
		o := ObjectFromProto(p)
		if err := sameObject(o, o.Key, -1); err != nil {
			return ListPage{}, broken("List", "%v", err)
		}
		if !strings.HasPrefix(o.Key, prefix) || o.Key <= last {
			return ListPage{}, broken("List", "the key %s is out of order or outside the prefix", o.Key)
		}
		last = o.Key
		page.Objects = append(page.Objects, o)
	}
	return page, nil
}

// ReadRange writes part of an object to w: length bytes from offset, or all
// that follows for length 0. It gives the number of bytes written.
func (c *ArtifactStoreClient) ReadRange(ctx context.Context, key string, offset, length int64, w io.Writer) (int64, error) {
	if !ValidKey(key) || offset < 0 || length < 0 {
		return 0, callerError("%q from %d, %d bytes, is not a range", key, offset, length)
	}
	s := newSilence(ctx, c.t.silence)
	defer s.stop()
	stream, err := c.rpc.ReadRange(s.ctx, &artifactstorev1.ReadRangeRequest{
		Instance: c.instance, Key: key, Offset: offset, Length: length,
	})
	if err != nil {
		return 0, s.err(ctx, "ReadRange", err)
	}
	var total int64
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, s.err(ctx, "ReadRange", err)
		}
		n := int64(len(res.GetData()))
		if n > MaxChunk || length > 0 && total+n > length {
			return total, broken("ReadRange", "more bytes than asked for")
		}
		s.pause()
		if _, err := w.Write(res.GetData()); err != nil {
			return total, fmt.Errorf("write %s: %w", key, err)
		}
		total += n
		s.reset()
	}
}

// PutBytes stores a small object, at most MaxPutBytes.
func (c *ArtifactStoreClient) PutBytes(ctx context.Context, key string, data []byte, digest string) (Object, error) {
	if !ValidKey(key) || len(data) > MaxPutBytes || !ValidDigest(digest) {
		return Object{}, callerError("%q with %d bytes and digest %q cannot be put", key, len(data), digest)
	}
	res, err := call(ctx, c.t.quick, "PutBytes", c.rpc.PutBytes, &artifactstorev1.PutBytesRequest{
		Instance: c.instance, Key: key, Data: data, Digest: digest,
	})
	if err != nil {
		return Object{}, err
	}
	o := ObjectFromProto(res.GetObject())
	if err := sameObject(o, key, int64(len(data))); err != nil {
		return Object{}, broken("PutBytes", "%v", err)
	}
	return o, nil
}

func checkItem(key, path string, size int64) error {
	if !ValidKey(key) {
		return callerError("%q is not a key", key)
	}
	if !cleanPath(path) {
		return callerError("%q is not a clean absolute path", path)
	}
	if size < 0 {
		return callerError("%s has the size %d", key, size)
	}
	return nil
}

// callerError is what a call with impossible arguments gets, unsent.
func callerError(format string, args ...any) error {
	return &diag.PluginError{Reason: diag.ErrPreconditionFailed, Retry: diag.RetryNever, Summary: fmt.Sprintf(format, args...)}
}

// sameObject checks an answer about key; size -1 is unknown.
func sameObject(o Object, key string, size int64) error {
	switch {
	case o.Key != key || !ValidKey(o.Key):
		return fmt.Errorf("an answer about %q where %q was asked for", clean(o.Key, 80), clean(key, 80))
	case o.Size < 0 || size >= 0 && o.Size != size:
		return fmt.Errorf("%s has the size %d", key, o.Size)
	case o.Digest != "" && !ValidDigest(o.Digest):
		return fmt.Errorf("%s has a digest that is none", key)
	}
	return nil
}

// itemResults converts and checks the results of n items; ok checks one that
// succeeded.
func itemResults(method string, n int, ps []*artifactstorev1.ItemResult, ok func(int, ItemResult) error) ([]ItemResult, error) {
	if len(ps) != n {
		return nil, broken(method, "%d results for %d items", len(ps), n)
	}
	out := make([]ItemResult, 0, n)
	for i, p := range ps {
		r := ItemResultFromProto(p)
		if r.Err == nil {
			if err := ok(i, r); err != nil {
				return nil, broken(method, "%v", err)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func inBatches[T any](items []T, do func([]T) ([]ItemResult, error)) ([]ItemResult, error) {
	if len(items) <= MaxBatch {
		if len(items) == 0 {
			return nil, nil
		}
		return do(items)
	}
	out := make([]ItemResult, 0, len(items))
	for len(items) > 0 {
		n := min(len(items), MaxBatch)
		part, err := do(items[:n])
		if err != nil {
			return nil, err
		}
		out, items = append(out, part...), items[n:]
	}
	return out, nil
}

// long makes a long call: progress until one message without it, the result.
func long[Res any, P interface {
	*Res
	GetProgress() *commonv1.Progress
}](
	ctx context.Context, limit time.Duration, method string, progress func(Progress),
	open func(context.Context) (grpc.ServerStreamingClient[Res], error),
) (P, error) {
	s := newSilence(ctx, limit)
	defer s.stop()
	stream, err := open(s.ctx)
	if err != nil {
		return nil, s.err(ctx, method, err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, broken(method, "the stream ended without a result")
		}
		if err != nil {
			return nil, s.err(ctx, method, err)
		}
		p := P(m)
		if p.GetProgress() == nil {
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				return nil, broken(method, "the stream did not end with its result")
			}
			return p, nil
		}
		s.pause()
		if progress != nil {
			progress(ProgressFromProto(p.GetProgress()))
		}
		s.reset()
	}
}
