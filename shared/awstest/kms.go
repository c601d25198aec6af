package awstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// A KMSDouble does what Peerless asks of KMS, with real keys: GenerateDataKey, Decrypt, CreateKey, DescribeKey, GetPublicKey and
// Sign, over the SDK's own protocol. It holds to what makes KMS more than a cipher: the encryption context is authenticated, a blob
// names its key, keys have one usage, and disabled ones refuse. It checks no permissions. The one in moto knows more operations, at
// the price of 60 MB of Python and seconds of start in each package's tests.
type KMSDouble struct {
	Config aws.Config

	mu    sync.Mutex
	keys  map[string]*kmsKey
	calls map[string]int
	fail  func(operation string) (code string)
}

type kmsKey struct {
	id       string
	spec     string
	aead     cipher.AEAD
	signing  *ecdsa.PrivateKey
	disabled bool
}

const kmsPrefix = "arn:aws:kms:us-east-1:123456789012:key/"

// KMS starts a double of KMS without keys, which ends with the test.
func KMS(t testing.TB) *KMSDouble {
	t.Helper()
	k := &KMSDouble{keys: map[string]*kmsKey{}, calls: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(k.serve))
	t.Cleanup(server.Close)
	k.Config = aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	return k
}

// Key makes a key of a spec, SYMMETRIC_DEFAULT or ECC_NIST_P256, and returns its ARN.
func (k *KMSDouble) Key(t testing.TB, spec string) string {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.createLocked(spec)
	if err != nil {
		t.Fatal(err)
	}
	return kmsPrefix + key.id
}

// Calls returns how many requests of an operation were answered, whatever the answer; of all, if operation is empty.
func (k *KMSDouble) Calls(operation string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if operation != "" {
		return k.calls[operation]
	}
	all := 0
	for _, n := range k.calls {
		all += n
	}
	return all
}

// Disable makes a key refuse.
func (k *KMSDouble) Disable(arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[strings.TrimPrefix(arn, kmsPrefix)].disabled = true
}

// Fail has every operation answered with the error of this code, as AWS names them, unless it is empty. nil: none.
func (k *KMSDouble) Fail(code func(operation string) string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = code
}

// kmsError is an answer of KMS that is none.
type kmsError struct{ code, message string }

func (e *kmsError) Error() string { return e.code + ": " + e.message }

func (k *KMSDouble) createLocked(spec string) (*kmsKey, error) {
	key := &kmsKey{id: rand.Text(), spec: spec}
	var err error
	switch spec {
	case "ECC_NIST_P256":
		key.signing, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "", "SYMMETRIC_DEFAULT":
		key.spec = "SYMMETRIC_DEFAULT"
		raw := make([]byte, 32)
		rand.Read(raw)
		block, _ := aes.NewCipher(raw)
		key.aead, err = cipher.NewGCMWithRandomNonce(block)
	default:
		err = &kmsError{"ValidationException", "the double makes no keys of the spec " + spec}
	}
	k.keys[key.id] = key
	return key, err
}

// kmsRequest has the members of all operations.
type kmsRequest struct {
	KeyId, KeySpec, KeyUsage string
	EncryptionContext        map[string]string
	CiphertextBlob           []byte
	Message                  []byte
	MessageType              string
	SigningAlgorithm         string
}

func (k *KMSDouble) serve(w http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	var request kmsRequest
	err := json.NewDecoder(r.Body).Decode(&request)
	var answer any
	if err == nil {
		answer, err = k.answer(operation, request)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		failure, ok := err.(*kmsError)
		if !ok {
			failure = &kmsError{"ValidationException", err.Error()}
		}
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]string{"__type": failure.code, "message": failure.message}
	}
	json.NewEncoder(w).Encode(answer)
}

func (k *KMSDouble) answer(operation string, q kmsRequest) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls[operation]++
	if k.fail != nil {
		if code := k.fail(operation); code != "" {
			return nil, &kmsError{code, "as the test wants it"}
		}
	}
	switch operation {
	case "CreateKey":
		key, err := k.createLocked(q.KeySpec)
		if err != nil {
			return nil, err
		}
		return map[string]any{"KeyMetadata": map[string]any{"KeyId": key.id, "Arn": kmsPrefix + key.id, "KeySpec": key.spec}}, nil
	case "GenerateDataKey":
		key, err := k.usableLocked(q.KeyId, "SYMMETRIC_DEFAULT")
		if err != nil {
			return nil, err
		}
		plain := make([]byte, 32)
		rand.Read(plain)
		blob := append([]byte(key.id), key.aead.Seal(nil, nil, plain, authenticated(q.EncryptionContext))...)
		return map[string]any{"KeyId": kmsPrefix + key.id, "Plaintext": plain, "CiphertextBlob": blob}, nil
	case "Decrypt":
		return k.decryptLocked(q)
	}
	key, err := k.usableLocked(q.KeyId, "ECC_NIST_P256")
	if err != nil {
		return nil, err
	}
	switch operation {
	case "GetPublicKey":
		der, err := x509.MarshalPKIXPublicKey(&key.signing.PublicKey)
		return map[string]any{"KeyId": kmsPrefix + key.id, "KeySpec": key.spec, "KeyUsage": "SIGN_VERIFY", "PublicKey": der}, err
	case "Sign":
		if q.MessageType != "DIGEST" || q.SigningAlgorithm != "ECDSA_SHA_256" || len(q.Message) != sha256.Size {
			return nil, &kmsError{"ValidationException", "the double signs SHA-256 digests with ECDSA"}
		}
		signature, err := ecdsa.SignASN1(rand.Reader, key.signing, q.Message)
		return map[string]any{"KeyId": kmsPrefix + key.id, "Signature": signature, "SigningAlgorithm": q.SigningAlgorithm}, err
	}
	return nil, &kmsError{"UnknownOperationException", operation}
}

func (k *KMSDouble) decryptLocked(q kmsRequest) (any, error) {
	const idLength = 26
	broken := &kmsError{"InvalidCiphertextException", ""}
	if len(q.CiphertextBlob) < idLength {
		return nil, broken
	}
	made := k.keys[string(q.CiphertextBlob[:idLength])]
	if made == nil || made.aead == nil {
		return nil, broken
	}
	if q.KeyId != "" {
		key, err := k.usableLocked(q.KeyId, "SYMMETRIC_DEFAULT")
		if err != nil {
			return nil, err
		}
		if key != made {
			return nil, &kmsError{"IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."}
		}
	}
	plain, err := made.aead.Open(nil, nil, q.CiphertextBlob[idLength:], authenticated(q.EncryptionContext))
	if err != nil {
		return nil, broken
	}
	return map[string]any{"KeyId": kmsPrefix + made.id, "Plaintext": plain, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, nil
}

func (k *KMSDouble) usableLocked(id, spec string) (*kmsKey, error) {
	key := k.keys[strings.TrimPrefix(id, kmsPrefix)]
	switch {
	case key == nil:
		return nil, &kmsError{"NotFoundException", fmt.Sprintf("Key '%s' does not exist", id)}
	case key.disabled:
		return nil, &kmsError{"DisabledException", kmsPrefix + key.id + " is disabled."}
	case key.spec != spec:
		return nil, &kmsError{"InvalidKeyUsageException", fmt.Sprintf("%s key usage is not valid for this operation.", kmsPrefix+key.id)}
	}
	return key, nil
}

// authenticated is an encryption context as bytes: JSON sorts its names.
func authenticated(c map[string]string) []byte {
	if len(c) == 0 {
		return nil
	}
	encoded, _ := json.Marshal(c)
	return encoded
}
