package kms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"peerless/shared/awstest"
	"peerless/shared/secret"
	"peerless/shared/secret/kms"
)

func client(double *awstest.KMSDouble) *awskms.Client {
	return awskms.NewFromConfig(double.Config, func(o *awskms.Options) { o.Retryer = aws.NopRetryer{} })
}

func sealer(t *testing.T, double *awstest.KMSDouble, keyID string, encryptionContext map[string]string) *kms.Sealer {
	t.Helper()
	s, err := kms.NewSealer(client(double), keyID, encryptionContext)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var stage = map[string]string{"stage": "test"}

func TestSealer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	double := awstest.KMS(t)
	key, otherKey := double.Key(t, "SYMMETRIC_DEFAULT"), double.Key(t, "SYMMETRIC_DEFAULT")
	first := sealer(t, double, key, stage)
	var wait sync.WaitGroup
	blobs := make([][]byte, 16)
	for i := range blobs {
		wait.Go(func() {
			sealed, err := first.Seal(ctx, []byte("secret"), "a")
			if err != nil {
				t.Error(err)
			}
			blobs[i] = sealed
		})
	}
	wait.Wait()
	if got := double.Calls(""); got != 1 {
		t.Errorf("sealing 16 secrets at once took %d calls of KMS, want 1", got)
	}
	second := sealer(t, double, key, stage)
	for _, sealed := range blobs {
		if opened, err := second.Open(ctx, sealed, "a"); err != nil || string(opened) != "secret" {
			t.Fatalf("opened %q, %v", opened, err)
		}
	}
	if got := double.Calls(""); got != 2 {
		t.Errorf("opening them in another process took %d calls, want 1", got-1)
	}
	// What the second seals, it seals under the same data key: nobody need ask for another.
	sealed, err := second.Seal(ctx, []byte("more"), "a")
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := first.Open(ctx, sealed, "a"); err != nil || string(opened) != "more" || double.Calls("") != 2 {
		t.Errorf("opened %q, %v, after %d calls, want 2", opened, err, double.Calls(""))
	}

	if _, err := first.Open(ctx, sealed, "b"); !errors.Is(err, secret.ErrBroken) {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := sealer(t, double, key, nil).Open(ctx, sealed, "a"); !errors.Is(err, secret.ErrBroken) {
		t.Errorf("in another encryption context: %v", err)
	}
	if _, err := sealer(t, double, otherKey, stage).Open(ctx, sealed, "a"); !errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("with another key: %v", err)
	}
	local, err := secret.NewKey().Seal(ctx, []byte("x"), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Open(ctx, local, "a"); !errors.Is(err, secret.ErrBroken) {
		t.Errorf("sealed by another kind of sealer: %v", err)
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 1
		if opened, err := sealer(t, double, key, stage).Open(ctx, flipped, "a"); !errors.Is(err, secret.ErrBroken) {
			t.Errorf("byte %d flipped: %q, %v", i, opened, err)
		}
		if opened, err := first.Open(ctx, sealed[:i], "a"); !errors.Is(err, secret.ErrBroken) {
			t.Errorf("cut at %d: %q, %v", i, opened, err)
		}
	}
}

func TestSealerFails(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	double := awstest.KMS(t)
	key := double.Key(t, "SYMMETRIC_DEFAULT")
	s := sealer(t, double, key, stage)
	double.Fail(func(string) string { return "ThrottlingException" })
	if _, err := s.Seal(ctx, []byte("x"), "a"); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("throttled: %v", err)
	}
	double.Fail(nil)
	sealed, err := s.Seal(ctx, []byte("x"), "a") // it tries again
	if err != nil {
		t.Fatal(err)
	}
	double.Fail(func(string) string { return "AccessDeniedException" })
	fresh := sealer(t, double, key, stage)
	if _, err := fresh.Open(ctx, sealed, "a"); err == nil || errors.Is(err, secret.ErrBroken) || errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("without permission: %v", err)
	}
	double.Fail(nil)
	double.Disable(key)
	if _, err := fresh.Open(ctx, sealed, "a"); err == nil || errors.Is(err, secret.ErrBroken) || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("with a disabled key: %v", err)
	}
	if _, err := sealer(t, double, "missing", stage).Seal(ctx, nil, "a"); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("with a key that is not there: %v", err)
	}
	if opened, err := s.Open(ctx, sealed, "a"); err != nil || string(opened) != "x" {
		t.Errorf("what is in memory opens without KMS: %q, %v", opened, err)
	}
	if _, err := kms.NewSealer(nil, "", nil); err == nil {
		t.Error("without a key's id")
	}
}

// The SDK's own retries get over a throttled call.
func TestRetries(t *testing.T) {
	t.Parallel()
	double := awstest.KMS(t)
	key := double.Key(t, "SYMMETRIC_DEFAULT")
	var once sync.Once
	double.Fail(func(string) (code string) {
		once.Do(func() { code = "ThrottlingException" })
		return code
	})
	retrying := awskms.NewFromConfig(double.Config, func(o *awskms.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 1 })
	})
	s, err := kms.NewSealer(retrying, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(t.Context(), []byte("x"), "a"); err != nil || double.Calls("") != 2 {
		t.Errorf("%v after %d calls", err, double.Calls(""))
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	double := awstest.KMS(t)
	key := double.Key(t, "ECC_NIST_P256")
	authorities, err := kms.NewAuthorities(client(double), key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := authorities.Signer(ctx, authorities.Key(), nil)
	if err != nil {
		t.Fatal(err)
	}
	public := signer.Public().(*ecdsa.PublicKey)
	again, err := authorities.Signer(ctx, key, public)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("certificate"))
	signature, err := again.Sign(nil, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(public, digest[:], signature) {
		t.Errorf("the signature is not the key's: %v", err)
	}
	if got, want := double.Calls("GetPublicKey"), 1; got != want {
		t.Errorf("asked %d times for the public key, want %d: the certificate has it", got, want)
	}
	if _, err := again.Sign(nil, make([]byte, 48), crypto.SHA384); err == nil {
		t.Error("signed another hash")
	}
	ended, cancel := context.WithCancel(ctx)
	late, err := authorities.Signer(ended, key, public)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Sign(nil, digest[:], crypto.SHA256); !errors.Is(err, context.Canceled) {
		t.Errorf("signed after the context's end: %v", err)
	}
	if _, err := authorities.Signer(ctx, double.Key(t, "SYMMETRIC_DEFAULT"), nil); err == nil {
		t.Error("a key that encrypts signs")
	}
	if _, err := kms.NewAuthorities(client(double), ""); err == nil {
		t.Error("without a key's id")
	}
}
