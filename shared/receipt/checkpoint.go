package receipt

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint is the state of a channel's log.
type Checkpoint struct {
	Origin string // which log: see Origin
	Size   uint64 // blocks
	Root   tlog.Hash
}

// Origin names a channel's log: peerless/CHANNEL/ and half of the hash of its first block's header in hex. That hash tells
// channels of one name on different platforms apart, and makes who trusts a key of this name trust the channel's own beginning.
func Origin(channel string, genesisHash []byte) string {
	return fmt.Sprintf("%s%s/%x", originPrefix, channel, genesisHash[:min(len(genesisHash), 16)])
}

const originPrefix = "peerless/"

// originChannel returns the channel that an origin names, "" if it is not one of ours.
func originChannel(origin string) string {
	rest, ok := strings.CutPrefix(origin, originPrefix)
	channel, genesis, found := strings.Cut(rest, "/")
	if !ok || !found || len(genesis) != 32 {
		return ""
	}
	return channel
}

// A Signer signs a log's checkpoints. Its name is the log's origin, as c2sp.org/tlog-checkpoint asks: one key signs for many logs,
// and a signature for one is none for another.
type Signer struct {
	note.Verifier
	vkey string
	key  ed25519.PrivateKey
}

var _ note.Signer = (*Signer)(nil)

// NewSigner returns the signer of the log of this origin.
func NewSigner(origin string, key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("sign checkpoints: not an Ed25519 key")
	}
	vkey, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("sign checkpoints: %w", err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoints of %q: %w", origin, err)
	}
	return &Signer{verifier, vkey, key}, nil
}

// VerifierKey returns the public key in the form that note.NewVerifier reads: NAME+HASH+KEY.
func (s *Signer) VerifierKey() string { return s.vkey }

// Sign implements note.Signer.
func (s *Signer) Sign(message []byte) ([]byte, error) { return ed25519.Sign(s.key, message), nil }

// Checkpoint signs the log's size and root.
func (s *Signer) Checkpoint(size uint64, root tlog.Hash) (string, error) {
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", s.Name(), size, root)}, s)
	if err != nil {
		return "", fmt.Errorf("sign checkpoint: %w", err)
	}
	return string(signed), nil
}

// OpenCheckpoint checks a checkpoint's signature against a verifier key, and reads it. Signatures of others, such as witnesses,
// may stand beside the one that counts.
func OpenCheckpoint(signed, verifierKey string) (*Checkpoint, error) {
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return nil, fmt.Errorf("%w: verifier key: %v", ErrForm, err)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		return nil, &Error{StepCheckpoint, fmt.Sprintf("it is not signed with the key %s", verifierKey)}
	}
	if err != nil {
		return nil, &Error{StepCheckpoint, fmt.Sprintf("signature: %v", err)}
	}
	c, err := parseCheckpoint(opened.Text)
	if err != nil {
		return nil, &Error{StepCheckpoint, err.Error()}
	}
	if c.Origin != verifier.Name() {
		return nil, &Error{StepCheckpoint, fmt.Sprintf("it is of the log %q, the key of %q", c.Origin, verifier.Name())}
	}
	return c, nil
}

// parseCheckpoint reads a checkpoint's text. Lines after the third are extensions, which say nothing to us.
func parseCheckpoint(text string) (*Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] == "" {
		return nil, errors.New("it is not an origin, a size and a root, one a line")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || size > math.MaxInt64 || strconv.FormatUint(size, 10) != lines[1] {
		return nil, fmt.Errorf("%q is not the size of a log", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return nil, fmt.Errorf("%q is not the root of a log", lines[2])
	}
	return &Checkpoint{Origin: lines[0], Size: size, Root: root}, nil
}
