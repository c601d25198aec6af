package organization

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// CheckpointKey returns the key with which the platform signs the checkpoints of its channels (package receipt). It is made with the
// ordering organisation and is the same ever after: clients pin it. The error for one that cannot be read is ErrDamaged.
func (r *Registry) CheckpointKey() (ed25519.PrivateKey, error) {
	orderer, err := r.Orderer()
	if err != nil {
		return nil, fmt.Errorf("key for checkpoints: %w", err)
	}
	return orderer.checkpoint, nil
}

var checkpointPurpose = purpose(KindOrganization, OrdererMSP, partCheckpoint)

// newCheckpointKey returns it sealed.
func (r *Registry) newCheckpointKey(ctx context.Context) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return r.Sealer.Seal(ctx, der, checkpointPurpose)
}

func (r *Registry) openCheckpointKey(ctx context.Context, sealed []byte) (ed25519.PrivateKey, error) {
	der, err := r.unseal(ctx, sealed, checkpointPurpose)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := parseCheckpointKey(der)
	if err != nil {
		return nil, damaged(checkpointPurpose, err)
	}
	return key, nil
}

func parseCheckpointKey(der []byte) (ed25519.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an Ed25519 key")
	}
	return key, nil
}

// checkpointDER is the key in a PEM file, as platforms kept it before.
func checkpointDER(encoded []byte) ([]byte, error) {
	block, _ := pem.Decode(encoded)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	_, err := parseCheckpointKey(block.Bytes)
	return block.Bytes, err
}
