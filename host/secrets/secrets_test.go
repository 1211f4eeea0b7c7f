package secrets

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/sdk/diag"
)

type users map[string][]string

func (u users) SecretUsers(context.Context) (map[string][]string, error) { return u, nil }

func open(t *testing.T, dir string, u users) (*Vault, *store.Store) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(dir, "cairn.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return New(s, u, Keyring{File: filepath.Join(dir, "identity")}), s
}

func wantError(t *testing.T, err error, code diag.Code, words ...string) {
	t.Helper()
	if err == nil || diag.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want %s", err, diag.CodeOf(err), code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %s", w, err)
		}
	}
}

func TestRoundTripAndUpdate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, s := open(t, dir, nil)
	ctx := t.Context()
	const canary = "hunter2-canary"
	if _, err := v.Create(ctx, "aws", map[string]string{"token": canary, "id": "x"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "identity"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("identity: %v, %v", info, err)
	}
	_, sealed, err := s.Secret(ctx, "aws")
	if err != nil || bytes.Contains(sealed, []byte(canary)) {
		t.Fatalf("the stored secret is in the clear, or %v", err)
	}
	got, err := v.Get(ctx, "aws")
	if err != nil || !cmp.Equal(got.Keys, []string{"id", "token"}) {
		t.Fatalf("keys %v, %v", got.Keys, err)
	}
	if _, err := v.Update(ctx, "aws", map[string]string{"region": "eu"}, []string{"id"}); err != nil {
		t.Fatal(err)
	}
	values, err := v.SecretValues(ctx, "aws")
	if err != nil || !cmp.Equal(values, map[string]string{"token": canary, "region": "eu"}) {
		t.Fatalf("%d values, %v", len(values), err)
	}
	keys, err := v.SecretKeys(ctx)
	if err != nil || !cmp.Equal(keys, map[string][]string{"aws": {"region", "token"}}) {
		t.Fatalf("keys %v, %v", keys, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	v, _ := open(t, t.TempDir(), users{"aws": {"artifact-store/prod"}})
	ctx := t.Context()
	if _, err := v.Create(ctx, "aws", map[string]string{"token": "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := v.Create(ctx, "aws", map[string]string{"token": "b"})
	wantError(t, err, diag.Refused, "already")
	_, err = v.Create(ctx, "a.b", map[string]string{"token": "b"})
	wantError(t, err, diag.Invalid, "a.b")
	_, err = v.Create(ctx, "empty", nil)
	wantError(t, err, diag.Invalid, "no keys")
	_, err = v.Create(ctx, "bad", map[string]string{"a b": "hunter2"})
	wantError(t, err, diag.Invalid, "'a b'")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error holds the value")
	}
	_, err = v.Create(ctx, "big", map[string]string{"a": strings.Repeat("x", maxSecret)})
	wantError(t, err, diag.Invalid, "too large")
	_, err = v.Get(ctx, "awz")
	wantError(t, err, diag.NotFound, "did you mean 'aws'?")
	_, err = v.Update(ctx, "aws", nil, []string{"tokn"})
	wantError(t, err, diag.NotFound, "did you mean 'token'?")
	_, err = v.Update(ctx, "aws", nil, []string{"token"})
	wantError(t, err, diag.Invalid, "no keys")
	wantError(t, v.Delete(ctx, "aws"), diag.Refused, "artifact-store/prod")
	values, err := v.SecretValues(ctx, "aws")
	if err != nil || values["token"] != "a" {
		t.Errorf("a refusal changed the secret: %v", err)
	}
}

func TestLostAndOtherIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, s := open(t, dir, nil)
	ctx := t.Context()
	if _, err := v.Create(ctx, "aws", map[string]string{"token": "a"}); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	o, _ := open(t, other, nil)
	if _, err := o.Create(ctx, "x", map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	stranger := New(s, users{}, Keyring{File: filepath.Join(other, "identity"), Given: true})
	_, err := stranger.SecretValues(ctx, "aws")
	wantError(t, err, diag.Refused, "another identity")

	absent := New(s, users{}, Keyring{File: filepath.Join(other, "absent"), Given: true})
	_, err = absent.SecretValues(ctx, "aws")
	wantError(t, err, diag.NotFound, "CAIRN_IDENTITY_FILE")

	identity := filepath.Join(dir, "identity")
	if err := os.Rename(identity, identity+".away"); err != nil {
		t.Fatal(err)
	}
	_, err = v.SecretValues(ctx, "aws")
	wantError(t, err, diag.Refused, "lost")
	_, err = v.Create(ctx, "second", map[string]string{"k": "v"})
	wantError(t, err, diag.Refused, "lost")
	if _, err := os.Stat(identity); err == nil {
		t.Error("a second identity was made beside secrets of the first")
	}
	if err := os.WriteFile(identity, []byte("AGE-SECRET-KEY-1CANARY\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = v.SecretValues(ctx, "aws")
	wantError(t, err, diag.Refused, "holds no age X25519 identity")
	if strings.Contains(err.Error(), "CANARY") {
		t.Error("the error holds what stands in the file")
	}
	if err := os.Remove(identity); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(identity+".away", identity); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(identity, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = v.SecretValues(ctx, "aws")
	wantError(t, err, diag.Refused, "0644")
}

func TestFirstUseByManyMakesOneIdentity(t *testing.T) {
	t.Parallel()
	k := Keyring{File: filepath.Join(t.TempDir(), "identity")}
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			id, err := k.identity(true)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = id.Recipient().String()
		})
	}
	wg.Wait()
	for _, g := range got {
		if g == "" || g != got[0] {
			t.Fatalf("several identities: %v", got)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(k.File))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
