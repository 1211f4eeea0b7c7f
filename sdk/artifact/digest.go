// Package artifact holds what cairn and a pipeline program agree on about
// files: the digest of a content, the manifest of a tree, how an output is
// claimed so that nobody can change it any more, and the result that an attempt
// leaves behind. Start with ClaimFile and Result.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// PartSize is the length of the parts that a content is hashed by; the last
// part may be shorter.
const PartSize = 4 << 20

// DigestPrefix begins every digest.
const DigestPrefix = "sha256t:"

// A digest names a content: DigestPrefix and the 64 lower-case hex digits of the
// SHA-256 over the concatenated SHA-256s of its parts, so that parts can be
// hashed side by side and checked one by one. An empty content has no parts: its
// digest is the SHA-256 of nothing.

// ErrMismatch says that bytes are not those that a digest names.
var ErrMismatch = errors.New("content does not match its digest")

// CheckDigest says what is wrong with a digest's form; nil where nothing is.
func CheckDigest(digest string) error {
	digits, ok := strings.CutPrefix(digest, DigestPrefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return fmt.Errorf("digest %q is not %s and 64 hex digits", clip(digest), DigestPrefix)
	}
	for _, c := range digits {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("digest %q is not %s and 64 hex digits", clip(digest), DigestPrefix)
		}
	}
	return nil
}

// clip shortens untrusted text for a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// HashBytes is the digest of data.
func HashBytes(data []byte) string {
	h := NewHasher()
	h.Write(data)
	return h.Digest()
}

// HashReader reads r to its end and gives the digest and size of what it read.
func HashReader(r io.Reader) (digest string, size int64, err error) {
	h := NewHasher()
	if _, err := io.Copy(h, r); err != nil {
		return "", 0, fmt.Errorf("hash content: %w", err)
	}
	return h.Digest(), h.Size(), nil
}

// hashWorkers bounds the parts hashed at once; more than a few gain nothing,
// since memory is the limit then.
const hashWorkers = 8

// HashFile gives the digest and size of a regular file, from its start, whatever
// the file's offset is. Parts are hashed side by side. A file that grows or
// shrinks meanwhile is an error.
func HashFile(ctx context.Context, f *os.File) (digest string, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", 0, fmt.Errorf("hash file: %w", err)
	}
	size = info.Size()
	parts := int((size + PartSize - 1) / PartSize)
	sums := make([]byte, parts*sha256.Size)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(hashWorkers, runtime.GOMAXPROCS(0)))
	for i := range parts {
		g.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			from := int64(i) * PartSize
			return hashPart(sums[i*sha256.Size:(i+1)*sha256.Size], f, from, min(PartSize, size-from))
		})
	}
	if err := g.Wait(); err != nil {
		return "", 0, fmt.Errorf("hash %s: %w", f.Name(), err)
	}
	if now, err := f.Stat(); err != nil {
		return "", 0, fmt.Errorf("hash %s: %w", f.Name(), err)
	} else if now.Size() != size {
		return "", 0, fmt.Errorf("hash %s: its size changed from %d to %d meanwhile", f.Name(), size, now.Size())
	}
	return digestOf(sums), size, nil
}

// hashPart puts the SHA-256 of n bytes of f at an offset into sum.
func hashPart(sum []byte, f io.ReaderAt, from, n int64) error {
	h := sha256.New()
	buf := make([]byte, min(n, 256<<10))
	copied, err := io.CopyBuffer(onlyWriter{h}, onlyReader{io.NewSectionReader(f, from, n)}, buf)
	if err != nil {
		return err
	}
	if copied != n {
		return io.ErrUnexpectedEOF
	}
	h.Sum(sum[:0])
	return nil
}

// onlyWriter and onlyReader hide other methods, so that io.CopyBuffer uses the
// buffer it was given.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

func digestOf(sums []byte) string {
	sum := sha256.Sum256(sums)
	return DigestPrefix + hex.EncodeToString(sum[:])
}

// Hasher counts a digest over what is written to it. Not safe for concurrent
// use.
type Hasher struct {
	part   hash.Hash
	inPart int
	sums   []byte
	size   int64
}

// NewHasher gives a Hasher that has seen nothing yet.
func NewHasher() *Hasher { return &Hasher{part: sha256.New()} }

// Write never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(PartSize-h.inPart, len(p))
		h.part.Write(p[:take])
		h.inPart += take
		p = p[take:]
		if h.inPart == PartSize {
			h.endPart()
		}
	}
	h.size += int64(n)
	return n, nil
}

func (h *Hasher) endPart() {
	h.sums = h.part.Sum(h.sums)
	h.part.Reset()
	h.inPart = 0
}

// Digest is the digest of what was written so far; writing may go on.
func (h *Hasher) Digest() string {
	if h.inPart == 0 {
		return digestOf(h.sums)
	}
	return digestOf(h.part.Sum(h.sums[:len(h.sums):len(h.sums)]))
}

// Size is how many bytes were written so far.
func (h *Hasher) Size() int64 { return h.size }

// Verifier checks what is written to it against a digest. Not safe for
// concurrent use.
type Verifier struct {
	Hasher
	digest string
	size   int64
}

// NewVerifier expects the content of a digest and a size.
func NewVerifier(digest string, size int64) *Verifier {
	return &Verifier{Hasher: *NewHasher(), digest: digest, size: size}
}

// Write fails with ErrMismatch as soon as there are more bytes than expected.
func (v *Verifier) Write(p []byte) (int, error) {
	if v.Size()+int64(len(p)) > v.size {
		return 0, fmt.Errorf("%w: longer than its %d bytes", ErrMismatch, v.size)
	}
	return v.Hasher.Write(p)
}

// Verify fails with ErrMismatch unless exactly the content was written.
func (v *Verifier) Verify() error {
	return compare(v.Digest(), v.Size(), v.digest, v.size)
}

// VerifyFile fails with ErrMismatch unless f holds the content of a digest.
func VerifyFile(ctx context.Context, f *os.File, digest string, size int64) error {
	got, n, err := HashFile(ctx, f)
	if err != nil {
		return err
	}
	return compare(got, n, digest, size)
}

func compare(got string, gotSize int64, want string, wantSize int64) error {
	if gotSize != wantSize {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, gotSize, wantSize)
	}
	if got != want {
		return fmt.Errorf("%w: digest is %s instead of %s", ErrMismatch, got, want)
	}
	return nil
}
