package organization

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"unicode"
	"unicode/utf8"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

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
	authority *msp.CA // nil if it is elsewhere
	endorser  *msp.Signer
	orderer   *msp.Signer
}

// MSPID returns the organisation's MSP id.
func (o *Organization) MSPID() string { return o.mspID }

// MSPConfig returns a copy of the organisation's MSP configuration, for a channel's configuration.
func (o *Organization) MSPConfig() *mspproto.MSPConfig { return proto.CloneOf(o.config) }

// Endorser returns the identity, in the role of a peer, that signs endorsements for the organisation. It is nil if the
// platform holds none: for the ordering organisation, and for one that endorses by itself.
func (o *Organization) Endorser() *msp.Signer { return o.endorser }

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
	file, err := userFile(request)
	if err != nil {
		return nil, fmt.Errorf("user of %s: %w", o.mspID, err)
	}
	name := path.Join(prefix+o.mspID, file)
	signer, err := o.registry.cache.get(name, func() (*msp.Signer, error) { return o.identity(name, request) })
	if err != nil {
		return nil, fmt.Errorf("user %q of %s: %w", request.CommonName, o.mspID, err)
	}
	return signer, nil
}

// userFile names the file of a user: by a hash, which suits every file system and any number of users.
func userFile(request msp.IssueRequest) (string, error) {
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
	hexed := hex.EncodeToString(hash[:])
	return path.Join("users", hexed[:2], hexed[2:]+".pem"), nil
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

// organizationLocked loads an organisation, or makes it.
func (r *Registry) organizationLocked(mspID string) (*Organization, error) {
	if organization := r.organizations[mspID]; organization != nil {
		return organization, nil
	}
	o := &Organization{mspID: mspID, registry: r}
	for _, prepare := range []func() error{o.loadConfig, o.loadAuthority, o.loadEndorser, o.loadOrderer} {
		if err := prepare(); err != nil {
			return nil, err
		}
	}
	r.organizations[mspID] = o
	if mspID != OrdererMSP {
		r.known[mspID] = true
	}
	return o, nil
}

func (o *Organization) file(name string) string { return path.Join(prefix+o.mspID, name) }

// loadConfig reads the configuration that a member brought, if it did.
func (o *Organization) loadConfig() error {
	encoded, err := o.registry.keep.load(o.file(configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	o.config = &mspproto.MSPConfig{}
	if err := proto.Unmarshal(encoded, o.config); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, o.file(configFile), err)
	}
	if verifier, err := msp.New(o.config); err != nil || verifier.ID() != o.mspID {
		return fmt.Errorf("%w: %s: it is not a configuration of %s", ErrDamaged, o.file(configFile), o.mspID)
	}
	return nil
}

// loadAuthority makes one, unless the member that brought its configuration kept it to itself.
func (o *Organization) loadAuthority() error {
	name := o.file(authorityFile)
	encoded, err := o.registry.keep.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		if o.config != nil {
			return nil
		}
		encoded, err = o.registry.keep.create(name, o.newAuthority)
	}
	if err != nil {
		return err
	}
	certificate, key := splitPEM(encoded)
	if o.authority, err = msp.LoadCA(o.mspID, certificate, key); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	if o.config == nil {
		o.config = o.authority.Config()
	}
	return nil
}

func (o *Organization) newAuthority() ([]byte, error) {
	ca, err := msp.NewCA(o.mspID)
	if err != nil {
		return nil, err
	}
	certificate, key, err := ca.PEM()
	return append(certificate, key...), err
}

func (o *Organization) loadEndorser() (err error) {
	if o.mspID != OrdererMSP {
		o.endorser, err = o.own(endorserFile, msp.IssueRequest{CommonName: "endorser." + o.mspID, Role: msp.RolePeer})
	}
	return err
}

func (o *Organization) loadOrderer() (err error) {
	if o.mspID == OrdererMSP {
		o.orderer, err = o.own(ordererFile, msp.IssueRequest{CommonName: "orderer." + o.mspID, Role: msp.RoleOrderer})
	}
	return err
}

// own returns an identity of the organisation itself; nil if there is none and no authority to issue it.
func (o *Organization) own(file string, request msp.IssueRequest) (*msp.Signer, error) {
	signer, err := o.identity(o.file(file), request)
	if errors.Is(err, ErrNoAuthority) {
		return nil, nil
	}
	return signer, err
}

// identity reads a certificate and its key, which are issued first if they are not there.
func (o *Organization) identity(name string, request msp.IssueRequest) (*msp.Signer, error) {
	encoded, err := o.registry.keep.load(name)
	if errors.Is(err, fs.ErrNotExist) {
		if o.authority == nil {
			return nil, ErrNoAuthority
		}
		encoded, err = o.registry.keep.create(name, func() ([]byte, error) {
			certificate, key, err := o.authority.Issue(request)
			return append(certificate, key...), err
		})
	}
	if err != nil {
		return nil, err
	}
	certificate, key := splitPEM(encoded)
	signer, err := msp.NewSigner(o.mspID, certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	return signer, nil
}
