package organization

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"unicode"
	"unicode/utf8"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/docstore"
	"peerless/shared/msp"
)

// Limits of what goes into a certificate, and with it into every transaction of its owner.
const (
	MaxName       = 256  // bytes, of a user's name and of an attribute's name
	MaxMSPID      = 128  // bytes
	MaxAttributes = 4096 // bytes of all names and values together
)

// An Organization is one member of channels, or the ordering organisation. It is safe for concurrent use.
type Organization struct {
	mspID     string
	registry  *Registry
	config    *mspproto.MSPConfig
	authority *pair // nil if it is elsewhere

	endorser   *Endorser // nil if it has none
	orderer    *msp.Signer
	checkpoint ed25519.PrivateKey
}

// MSPID returns the organisation's MSP id.
func (o *Organization) MSPID() string { return o.mspID }

// MSPConfig returns a copy of the organisation's MSP configuration, for a channel's configuration.
func (o *Organization) MSPConfig() *mspproto.MSPConfig { return proto.CloneOf(o.config) }

// Endorser returns who signs endorsements for the organisation. It is nil if the platform knows nobody: for the ordering
// organisation, and for one that brought an MSP and no endorser.
func (o *Organization) Endorser() *Endorser { return o.endorser }

// Issues reports whether its users' certificates are issued here: User returns ErrNoAuthority if not.
func (o *Organization) Issues() bool { return o.authority != nil }

// Orderer returns the identity that signs blocks. It is nil but for the ordering organisation.
func (o *Organization) Orderer() *msp.Signer { return o.orderer }

// User returns a user of the organisation, in the role of a client, with attributes that chaincode can read. The
// certificate is issued at the first call for this name with these attributes, and is the same ever after. The errors are
// ErrName, ErrNoAuthority, ErrDamaged and ErrFull.
func (o *Organization) User(name string, attributes map[string]string) (*msp.Signer, error) {
	return o.member(msp.IssueRequest{CommonName: name, Role: msp.RoleClient, Attributes: attributes})
}

// Admin returns an administrator of the organisation, under the same terms as User.
func (o *Organization) Admin(name string) (*msp.Signer, error) {
	return o.member(msp.IssueRequest{CommonName: name, Role: msp.RoleAdmin})
}

func (o *Organization) member(request msp.IssueRequest) (*msp.Signer, error) {
	hash, err := userHash(request)
	if err != nil {
		return nil, fmt.Errorf("user of %s: %w", o.mspID, err)
	}
	id := o.mspID + "/" + hash
	signer, err := o.registry.users.get(id, id, func() (*msp.Signer, error) { return o.loadUser(id, request) })
	if err != nil {
		return nil, fmt.Errorf("user %q of %s: %w", request.CommonName, o.mspID, err)
	}
	return signer, nil
}

// loadUser reads a certificate and its key, which are issued first if they are not there. If another process issues at the same
// time, both return the certificate of the one whose document was first.
func (o *Organization) loadUser(id string, request msp.IssueRequest) (*msp.Signer, error) {
	ctx, cancel := o.registry.context()
	defer cancel()
	doc, err := o.registry.Store.Get(ctx, KindUser, id)
	if errors.Is(err, docstore.ErrNotFound) {
		if o.authority == nil {
			return nil, ErrNoAuthority
		}
		doc, err = o.issueUser(ctx, id, request)
	}
	if err != nil {
		return nil, storeError(err)
	}
	var kept pair
	if err := doc.Decode(&kept); err != nil {
		return nil, storeError(err)
	}
	return o.registry.open(ctx, o.mspID, &kept, purpose(KindUser, id, partKey))
}

func (o *Organization) issueUser(ctx context.Context, id string, request msp.IssueRequest) (docstore.Document, error) {
	ca, err := o.registry.openAuthority(ctx, o.mspID, o.authority)
	if err != nil {
		return docstore.Document{}, err
	}
	issued, err := o.registry.issue(ctx, ca, request, purpose(KindUser, id, partKey))
	if err != nil {
		return docstore.Document{}, err
	}
	return docstore.Create(ctx, o.registry.Store, KindUser, id, issued)
}

// userHash names the document of a user, whatever is in the user's name and attributes.
func userHash(request msp.IssueRequest) (string, error) {
	if err := checkName(request.CommonName); err != nil {
		return "", err
	}
	size := 0
	for name, value := range request.Attributes {
		if err := checkName(name); err != nil {
			return "", fmt.Errorf("attribute: %w", err)
		}
		if !utf8.ValidString(value) {
			return "", fmt.Errorf("attribute %s: %w: the value is not UTF-8", name, ErrName)
		}
		if size += len(name) + len(value); size > MaxAttributes {
			return "", fmt.Errorf("attributes: %w: they are over %d bytes", ErrName, MaxAttributes)
		}
	}
	described, err := json.Marshal(struct { // with sorted attributes
		Role, Name string
		Attributes map[string]string `json:",omitempty"`
	}{request.Role, request.CommonName, request.Attributes})
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(described)
	return hex.EncodeToString(hash[:]), nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: it is over %d bytes", ErrName, MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: it is not UTF-8", ErrName)
	}
	for _, character := range name {
		if unicode.IsControl(character) {
			return fmt.Errorf("%w: %q has a control character", ErrName, name)
		}
	}
	return nil
}

// policyID is what an endorsement policy can name.
var policyID = regexp.MustCompile(`^[[:alnum:].-]+$`)

func checkMSPID(mspID string) error {
	if len(mspID) > MaxMSPID || !policyID.MatchString(mspID) {
		return fmt.Errorf("%w: an MSP id is of up to %d letters, digits, dots and hyphens", ErrName, MaxMSPID)
	}
	return nil
}
