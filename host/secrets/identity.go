package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Keyring holds the identity that secrets are encrypted for.
type Keyring struct {
	// File is where the identity stands.
	File string
	// Given: the file is the user's own (CAIRN_IDENTITY_FILE), so that it is
	// never made.
	Given bool
}

// identity reads the identity, and makes it where it is not there and may be
// made. Several hosts may do so at once: one file wins.
func (k Keyring) identity(mayMake bool) (*age.X25519Identity, error) {
	id, err := k.read()
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if k.Given {
		return nil, &diag.Error{
			Code: diag.NotFound, Summary: "the identity that opens secrets is not there",
			Detail: "CAIRN_IDENTITY_FILE is " + k.File + ", which does not exist",
			Hint:   "set CAIRN_IDENTITY_FILE to the file, or unset it to use the one of the home", Err: err,
		}
	}
	if !mayMake {
		return nil, &diag.Error{
			Code: diag.Refused, Summary: "the identity that opens the secrets of this home is lost",
			Detail: k.File + " does not exist, though there are secrets",
			Hint:   "put the file back from a backup; without it, delete the secrets and create them again", Err: err,
		}
	}
	if err := k.make(); err != nil {
		return nil, err
	}
	return k.read()
}

func (k Keyring) read() (*age.X25519Identity, error) {
	info, err := os.Stat(k.File)
	if err != nil {
		return nil, fmt.Errorf("open identity: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, &diag.Error{
			Code: diag.Refused, Summary: "the identity that opens secrets can be read by others",
			Detail: fmt.Sprintf("%s has mode %04o", k.File, info.Mode().Perm()),
			Hint:   "chmod 600 " + k.File,
		}
	}
	data, err := os.ReadFile(k.File)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	list, err := age.ParseIdentities(bytes.NewReader(data))
	if err == nil {
		for _, id := range list {
			if x, ok := id.(*age.X25519Identity); ok {
				return x, nil
			}
		}
	}
	// The parse error may quote the line, which is the key: it is not passed on.
	return nil, &diag.Error{
		Code: diag.Refused, Summary: "the identity that opens secrets cannot be read",
		Detail: k.File + " holds no age X25519 identity (a line AGE-SECRET-KEY-1…)",
		Hint:   "put the file back from a backup, or set CAIRN_IDENTITY_FILE to the right one",
	}
}

// make writes a new identity whole or not at all, and never over another.
func (k Keyring) make() error {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make identity: %w", err)
	}
	dir := filepath.Dir(k.File)
	tmp, err := os.CreateTemp(dir, ".identity-*")
	if err != nil {
		return fmt.Errorf("make identity: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := fmt.Fprintf(tmp, "# opens the secrets of this cairn home; keep a copy of it elsewhere\n# public key: %s\n%s\n", id.Recipient(), id); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := fault.Hit("secrets.identity.before-link"); err != nil {
		return err
	}
	// A link fails where the name is there, and the name is never half a file.
	if err := os.Link(tmp.Name(), k.File); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make identity: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
