package plugin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// What a store gets that has no method of its own for it.

// markerKey holds the identity of a store without an Opener.
const markerKey = ".cairn-store"

// identity reads the store's marker, or makes it: of several hosts that try, one
// puts it, and the others read that one's.
func (c storeCall) identity(ctx context.Context) (string, error) {
	for range 3 {
		id, err := c.readSmall(ctx, markerKey)
		if err == nil || !errors.Is(err, diag.ErrNotFound) {
			return string(id), err
		}
		mine := []byte(rand.Text())
		if _, err = c.putBytes(ctx, markerKey, mine, digestOfSmall(mine)); err == nil {
			return string(mine), nil
		}
		if !errors.Is(err, diag.ErrAlreadyExists) {
			return "", err
		}
	}
	return "", fmt.Errorf("the store's marker %s can neither be read nor made: %w", markerKey, diag.ErrUnavailable)
}

// readSmall reads a small object.
func (c storeCall) readSmall(ctx context.Context, key string) ([]byte, error) {
	f, err := os.CreateTemp("", "cairn-get-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := c.fetch(ctx, key, f); err != nil {
		return nil, translate(err)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
}

// check looks an object up that does not exist; for a round trip it also puts
// one, reads it and deletes it.
func (c storeCall) check(ctx context.Context, r CheckRequest) error {
	key := "cairn-check." + rand.Text()
	err := guard(ctx, c.log, "Stat", func() error {
		_, err := c.store.Stat(ctx, StatRequest{Key: key})
		return err
	})
	if err = translate(err); !errors.Is(err, diag.ErrNotFound) {
		if err == nil {
			err = errors.New("the store finds an object that was never put")
		}
		return err
	}
	if !r.RoundTrip {
		return nil
	}
	data := []byte("cairn")
	if _, err := c.putBytes(ctx, key, data, digestOfSmall(data)); err != nil {
		return fmt.Errorf("put an object: %w", err)
	}
	got, err := c.readSmall(ctx, key)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("it is not what was put: %w", diag.ErrCorrupt)
	}
	if err != nil {
		err = fmt.Errorf("read the object back: %w", err)
	}
	if derr := guard(ctx, c.log, "Delete", func() error { return c.store.Delete(ctx, DeleteRequest{Key: key}) }); err == nil && derr != nil {
		err = fmt.Errorf("delete the object: %w", derr)
	}
	return err
}

// digestOfSmall is cairn's digest of a content of one part.
func digestOfSmall(data []byte) string {
	part := sha256.Sum256(data)
	sum := sha256.Sum256(part[:])
	return "sha256t:" + hex.EncodeToString(sum[:])
}
