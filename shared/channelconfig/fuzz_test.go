package channelconfig_test

import (
	"errors"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// A configuration that parses can be asked anything.
func FuzzParse(f *testing.F) {
	tx, _ := wire.ParseEnvelope(goldenBlock(f, "alpha-000.pb").Data.Data[0])
	payload := &common.Payload{}
	if err := proto.Unmarshal(tx.Payload, payload); err != nil {
		f.Fatal(err)
	}
	f.Add(tx.Data)
	f.Fuzz(func(t *testing.T, raw []byte) {
		changed := proto.Clone(payload).(*common.Payload)
		changed.Data = raw
		encoded, err := proto.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		config, err := channelconfig.Parse(wire.NewBlock(0, nil, [][]byte{wire.NewEnvelope(encoded, nil)}))
		if err != nil {
			if !errors.Is(err, channelconfig.ErrConfig) && !errors.Is(err, channelconfig.ErrNotConfig) {
				t.Fatal(err)
			}
			return
		}
		for _, path := range []string{channelconfig.PathWriters, channelconfig.PathEndorsement, channelconfig.PathBlockValidation} {
			config.Satisfied(path, []*msp.Identity{})
		}
		if _, err := config.MSPs.Identify(nil); !errors.Is(err, msp.ErrUnknownMSP) {
			t.Fatalf("nobody was identified: %v", err)
		}
	})
}
