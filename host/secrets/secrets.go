// Package secrets keeps secrets: maps of keys, encrypted at rest with age, and
// opened only when a value is asked for. Nothing here logs a value, and no
// error holds one.
package secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Store keeps the ciphertexts.
type Store interface {
	Secrets(ctx context.Context) ([]model.Secret, error)
	Secret(ctx context.Context, name string) (model.Secret, []byte, error)
	// PutSecret creates or replaces a secret: ErrExists where it is to be new
	// and is not, ErrNotFound where it is to be replaced and is not there.
	PutSecret(ctx context.Context, s model.Secret, ciphertext []byte, isNew bool) error
	DeleteSecret(ctx context.Context, name string) error
}

// Users says who refers to secrets.
type Users interface {
	// SecretUsers gives the components that refer to each secret, as TYPE/NAME,
	// by the secret's name.
	SecretUsers(ctx context.Context) (map[string][]string, error)
}

// Vault keeps secrets. Its errors are *diag.Error values where a person can
// mend them. Safe for concurrent use, also by several processes.
type Vault struct {
	store   Store
	users   Users
	keyring Keyring
	now     func() time.Time
}

// New makes a Vault.
func New(store Store, users Users, keyring Keyring) *Vault {
	return &Vault{store: store, users: users, keyring: keyring, now: time.Now}
}

// maxSecret bounds the values of a secret together, in bytes.
const maxSecret = 256 << 10

// maxKey is the longest key of a secret.
const maxKey = 128

// validKey is what a reference {{NAME.KEY}} takes for a key.
func validKey(k string) bool {
	for i, c := range []byte(k) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !letter && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return k != "" && len(k) <= maxKey
}

// Create makes a secret.
func (v *Vault) Create(ctx context.Context, name string, values map[string]string) (model.Secret, error) {
	// A dot ends the name in a reference, {{NAME.KEY}}.
	if !model.ValidName(name) || strings.Contains(name, ".") {
		return model.Secret{}, &diag.Error{
			Code: diag.Invalid, Summary: fmt.Sprintf("'%s' cannot be the name of a secret", name),
			Detail: model.NameRule + "; that of a secret has no '.' either", Hint: "choose a name such as 'aws'",
		}
	}
	if len(values) == 0 {
		return model.Secret{}, &diag.Error{
			Code: diag.Invalid, Summary: fmt.Sprintf("secret '%s' has no keys", name),
			Hint: "give at least one key with its value from standard input, a file or the prompt: see 'cairn secret create --help'",
		}
	}
	if err := validValues(values); err != nil {
		return model.Secret{}, err
	}
	all, err := v.store.Secrets(ctx)
	if err != nil {
		return model.Secret{}, fmt.Errorf("list secrets: %w", err)
	}
	s := model.Secret{Name: name, Keys: slices.Sorted(maps.Keys(values)), CreatedAt: v.now().UTC()}
	s.UpdatedAt = s.CreatedAt
	// A lost identity is not made anew while secrets of the old one are there.
	sealed, err := v.seal(values, len(all) == 0)
	if err != nil {
		return model.Secret{}, err
	}
	if err := v.store.PutSecret(ctx, s, sealed, true); err != nil {
		if errors.Is(err, model.ErrExists) {
			return model.Secret{}, &diag.Error{
				Code: diag.Refused, Summary: fmt.Sprintf("there is a secret named '%s' already", name),
				Hint: fmt.Sprintf("change it with 'cairn secret update %s', or choose another name", name), Err: err,
			}
		}
		return model.Secret{}, fmt.Errorf("store secret '%s': %w", name, err)
	}
	return s, nil
}

// List gives all secrets, without values, in order of name.
func (v *Vault) List(ctx context.Context) ([]model.Secret, error) {
	all, err := v.store.Secrets(ctx)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	return all, nil
}

// Get gives a secret without its values.
func (v *Vault) Get(ctx context.Context, name string) (model.Secret, error) {
	s, _, err := v.find(ctx, name)
	return s, err
}

// SecretValues opens a secret.
func (v *Vault) SecretValues(ctx context.Context, name string) (map[string]string, error) {
	_, sealed, err := v.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return v.open(name, sealed)
}

// Update sets and removes keys of a secret.
func (v *Vault) Update(ctx context.Context, name string, set map[string]string, remove []string) (model.Secret, error) {
	if err := validValues(set); err != nil {
		return model.Secret{}, err
	}
	s, sealed, err := v.find(ctx, name)
	if err != nil {
		return model.Secret{}, err
	}
	values, err := v.open(name, sealed)
	if err != nil {
		return model.Secret{}, err
	}
	for _, key := range remove {
		if _, ok := values[key]; !ok {
			return model.Secret{}, &diag.Error{
				Code:    diag.NotFound,
				Summary: fmt.Sprintf("secret '%s' has no key '%s'%s", name, key, diag.DidYouMean(key, s.Keys)),
				Hint:    fmt.Sprintf("'cairn secret get %s' shows its keys", name),
			}
		}
		delete(values, key)
	}
	maps.Copy(values, set)
	if len(values) == 0 {
		return model.Secret{}, &diag.Error{
			Code: diag.Invalid, Summary: fmt.Sprintf("secret '%s' would have no keys", name),
			Hint: fmt.Sprintf("delete it whole: cairn secret delete %s", name),
		}
	}
	if err := validValues(values); err != nil {
		return model.Secret{}, err
	}
	s.Keys, s.UpdatedAt = slices.Sorted(maps.Keys(values)), v.now().UTC()
	if sealed, err = v.seal(values, false); err != nil {
		return model.Secret{}, err
	}
	if err := v.store.PutSecret(ctx, s, sealed, false); err != nil {
		return model.Secret{}, fmt.Errorf("store secret '%s': %w", name, err)
	}
	return s, nil
}

// Delete deletes a secret that no component refers to.
func (v *Vault) Delete(ctx context.Context, name string) error {
	if _, _, err := v.find(ctx, name); err != nil {
		return err
	}
	users, err := v.users.SecretUsers(ctx)
	if err != nil {
		return fmt.Errorf("look who uses secret '%s': %w", name, err)
	}
	if by := users[name]; len(by) > 0 {
		return &diag.Error{
			Code: diag.Refused, Summary: fmt.Sprintf("secret '%s' is in use", name),
			Detail: "it is named in the config of " + quoteAll(by),
			Hint:   "change the config of what uses it first, or delete that",
		}
	}
	if err := v.store.DeleteSecret(ctx, name); err != nil {
		return fmt.Errorf("delete secret '%s': %w", name, err)
	}
	return nil
}

// UsedBy gives who refers to each secret, as TYPE/NAME, by the secret's name.
func (v *Vault) UsedBy(ctx context.Context) (map[string][]string, error) {
	return v.users.SecretUsers(ctx)
}

// SecretKeys gives the keys of every secret, by its name.
func (v *Vault) SecretKeys(ctx context.Context) (map[string][]string, error) {
	all, err := v.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(all))
	for _, s := range all {
		out[s.Name] = s.Keys
	}
	return out, nil
}

func (v *Vault) find(ctx context.Context, name string) (model.Secret, []byte, error) {
	s, sealed, err := v.store.Secret(ctx, name)
	if err == nil {
		return s, sealed, nil
	}
	if !errors.Is(err, model.ErrNotFound) {
		return model.Secret{}, nil, fmt.Errorf("read secret '%s': %w", name, err)
	}
	all, err := v.store.Secrets(ctx)
	if err != nil {
		return model.Secret{}, nil, fmt.Errorf("list secrets: %w", err)
	}
	names := make([]string, 0, len(all))
	for _, s := range all {
		names = append(names, s.Name)
	}
	return model.Secret{}, nil, &diag.Error{
		Code:    diag.NotFound,
		Summary: fmt.Sprintf("no secret named '%s'%s", name, diag.DidYouMean(name, names)),
		Hint:    fmt.Sprintf("'cairn secret list' shows all; 'cairn secret create %s' makes it", name),
		Err:     model.ErrNotFound,
	}
}

func (v *Vault) seal(values map[string]string, mayMake bool) ([]byte, error) {
	id, err := v.keyring.identity(mayMake)
	if err != nil {
		return nil, err
	}
	plain, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode secret: %w", err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypt secret: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypt secret: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt secret: %w", err)
	}
	return out.Bytes(), nil
}

func (v *Vault) open(name string, sealed []byte) (map[string]string, error) {
	id, err := v.keyring.identity(false)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if noMatch := (*age.NoIdentityMatchError)(nil); errors.As(err, &noMatch) {
		return nil, &diag.Error{
			Code: diag.Refused, Summary: fmt.Sprintf("secret '%s' cannot be opened", name),
			Detail: "it was encrypted for another identity than the one in " + v.keyring.File,
			Hint:   "put the right identity there or set CAIRN_IDENTITY_FILE to it; without it, delete the secret and create it again",
			Err:    err,
		}
	}
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(r)
	}
	var values map[string]string
	if err == nil && json.Unmarshal(plain, &values) != nil {
		// The decoder's own error may quote what it read.
		err = errors.New("what was encrypted is not a secret of cairn")
	}
	if err != nil {
		return nil, &diag.Error{
			Code: diag.Internal, Summary: fmt.Sprintf("secret '%s' is damaged", name), Detail: err.Error(),
			Hint: "delete it and create it again", Err: err,
		}
	}
	return values, nil
}

func validValues(values map[string]string) error {
	total := 0
	for k, val := range values {
		if !validKey(k) {
			return &diag.Error{
				Code: diag.Invalid, Summary: fmt.Sprintf("'%s' cannot be the key of a secret", k),
				Detail: "a key has 1 to 128 characters of letters, digits, '_', '.' and '-'",
				Hint:   "choose a key such as 'token'",
			}
		}
		total += len(k) + len(val)
	}
	if total > maxSecret {
		return &diag.Error{
			Code: diag.Invalid, Summary: fmt.Sprintf("the secret is too large: %d bytes, at most %d", total, maxSecret),
			Hint: "split it in several secrets",
		}
	}
	return nil
}

func quoteAll(names []string) string {
	var b bytes.Buffer
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("'" + n + "'")
	}
	return b.String()
}
