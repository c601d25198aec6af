package channelconfig

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
	"peerless/shared/wire"
)

// Errors of Parse.
var (
	// ErrNotConfig: the block holds no configuration.
	ErrNotConfig = errors.New("not a configuration block")
	// ErrConfig: the configuration in the block cannot be used.
	ErrConfig = errors.New("unusable channel configuration")
)

// A Config is a channel's configuration as of a block. It is immutable and safe for concurrent use.
type Config struct {
	Channel       string
	Sequence      uint64         // how many updates led to it
	Organizations []Organization // of the application, sorted by MSP id
	Orderers      []Organization // sorted by MSP id
	MSPs          *msp.Manager   // of both

	policies map[string]*rule // by path below the channel: "Application/Writers"
}

// IsConfig reports whether a block is a configuration block: one transaction, of type CONFIG.
func IsConfig(block *common.Block) bool {
	_, _, err := envelope(block)
	return err == nil
}

// envelope returns the configuration envelope of a block, still marshalled, and its channel.
func envelope(block *common.Block) (raw []byte, channel string, err error) {
	if len(block.GetData().GetData()) != 1 {
		return nil, "", ErrNotConfig
	}
	tx, code := wire.ParseEnvelope(block.GetData().GetData()[0])
	if tx == nil || tx.Type != common.HeaderType_CONFIG || code != peer.TxValidationCode_VALID {
		return nil, "", ErrNotConfig
	}
	return tx.Data, tx.Channel, nil
}

// Parse reads the configuration out of a configuration block. It returns ErrNotConfig or ErrConfig.
func Parse(block *common.Block) (*Config, error) { return new(Parser).Parse(block) }

// A Parser parses configurations and lets channels that are configured alike share what was parsed: their certificates are
// most of what an idle channel costs. The zero value works. Safe for concurrent use.
type Parser struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]*Config // by the hash of the configuration, which does not name its channel
}

// maxSeen different configurations are remembered.
const maxSeen = 256

// Parse is the function Parse.
func (p *Parser) Parse(block *common.Block) (*Config, error) {
	raw, channel, err := envelope(block)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", block.GetHeader().GetNumber(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := sha256.Sum256(raw)
	if like := p.seen[key]; like != nil {
		config := *like
		config.Channel = channel
		return &config, nil
	}
	parsed := &common.ConfigEnvelope{}
	if err := proto.Unmarshal(raw, parsed); err != nil {
		return nil, fmt.Errorf("%w in block %d: %w", ErrConfig, block.GetHeader().GetNumber(), err)
	}
	config := &Config{Channel: channel, Sequence: parsed.GetConfig().GetSequence(), policies: map[string]*rule{}}
	if err := config.read(parsed.GetConfig().GetChannelGroup()); err != nil {
		return nil, fmt.Errorf("%w of %s in block %d: %w", ErrConfig, channel, block.GetHeader().GetNumber(), err)
	}
	if p.seen == nil || len(p.seen) == maxSeen {
		p.seen = make(map[[sha256.Size]byte]*Config)
	}
	p.seen[key] = config
	return config, nil
}

func (c *Config) read(root *common.ConfigGroup) error {
	if root == nil {
		return errors.New("there is none")
	}
	if err := addPolicies(c.policies, "", root); err != nil {
		return err
	}
	var verifiers []*msp.MSP
	for name, into := range map[string]*[]Organization{"Application": &c.Organizations, "Orderer": &c.Orderers} {
		groups := root.GetGroups()[name].GetGroups()
		for _, key := range slices.Sorted(maps.Keys(groups)) {
			org := &mspproto.MSPConfig{}
			if err := proto.Unmarshal(groups[key].GetValues()["MSP"].GetValue(), org); err != nil {
				return fmt.Errorf("MSP of %s: %w", key, err)
			}
			verifier, err := msp.New(org)
			if err != nil {
				return fmt.Errorf("MSP of %s: %w", key, err)
			}
			verifiers = append(verifiers, verifier)
			*into = append(*into, Organization{MSPID: verifier.ID(), MSP: org})
		}
		slices.SortFunc(*into, func(a, b Organization) int { return strings.Compare(a.MSPID, b.MSPID) })
	}
	c.MSPs = msp.NewManager(verifiers...)
	return nil
}
