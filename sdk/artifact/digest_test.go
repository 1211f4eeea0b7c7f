package artifact_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/cairn-stack/cairn/sdk/artifact"
)

// plainDigest counts a digest as the definition says, in the simplest way.
func plainDigest(data []byte) string {
	var sums []byte
	for len(data) > 0 {
		n := min(len(data), 4<<20)
		sum := sha256.Sum256(data[:n])
		sums = append(sums, sum[:]...)
		data = data[n:]
	}
	sum := sha256.Sum256(sums)
	return "sha256t:" + hex.EncodeToString(sum[:])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func TestDigestIsTheSameByEveryWay(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 4<<20 - 1, 4 << 20, 4<<20 + 1, 9<<20 + 5} {
		data := randomBytes(n)
		want := plainDigest(data)
		if got := artifact.HashBytes(data); got != want {
			t.Errorf("%d bytes: HashBytes = %s, want %s", n, got, want)
		}
		got, size, err := artifact.HashReader(iotest.HalfReader(bytes.NewReader(data)))
		if err != nil || got != want || size != int64(n) {
			t.Errorf("%d bytes: HashReader = %s, %d, %v; want %s", n, got, size, err, want)
		}
		f := tempFile(t, data)
		got, size, err = artifact.HashFile(t.Context(), f)
		if err != nil || got != want || size != int64(n) {
			t.Errorf("%d bytes: HashFile = %s, %d, %v; want %s", n, got, size, err, want)
		}
		if err := artifact.CheckDigest(want); err != nil {
			t.Error(err)
		}
	}
	if got, want := artifact.HashBytes(nil), "sha256t:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("digest of nothing = %s, want %s", got, want)
	}
}

func tempFile(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestHashFileEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	f := tempFile(t, make([]byte, 9<<20))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := artifact.HashFile(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("HashFile = %v, want canceled", err)
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	data := randomBytes(5 << 20)
	other := bytes.Clone(data)
	other[4<<20] ^= 1
	tests := map[string]struct {
		write []byte
		want  error
	}{
		"same":    {data, nil},
		"flipped": {other, artifact.ErrMismatch},
		"shorter": {data[:len(data)-1], artifact.ErrMismatch},
		"longer":  {append(bytes.Clone(data), 0), artifact.ErrMismatch},
	}
	for name, tt := range tests {
		v := artifact.NewVerifier(artifact.HashBytes(data), int64(len(data)))
		_, err := v.Write(tt.write)
		if err == nil {
			err = v.Verify()
		}
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestCheckDigestRefuses(t *testing.T) {
	t.Parallel()
	good := artifact.HashBytes(nil)
	for _, bad := range []string{"", "sha256:" + good[8:], good[:len(good)-1], good + "0", "sha256t:" + "E" + good[9:], "../../" + good} {
		if artifact.CheckDigest(bad) == nil {
			t.Errorf("CheckDigest(%q) = nil", bad)
		}
	}
}
