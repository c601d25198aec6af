package wire_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"peerless/shared/wire"
)

// One message somewhere inside a real envelope is damaged, and the proposal hash made to fit again, so that the damage
// is met as deep as it lies: ParseEnvelope and unmarshalling one by one must have the same code.
func TestParseEnvelopeAsUnmarshalled(t *testing.T) {
	t.Parallel()
	layers := []string{"envelope", "payload", "channel", "signature", "extension", "tx", "action", "response", "result", "results", "event"}
	whole := map[string][]byte{}
	p := takeApart(t)
	for name, raw := range map[string][]byte{
		"envelope": p.assemble(t), "payload": p.envelope.Payload, "channel": p.payload.Header.ChannelHeader,
		"signature": p.payload.Header.SignatureHeader, "extension": p.channel.Extension, "tx": p.payload.Data,
		"action": p.tx.Actions[0].Payload, "response": p.action.Action.ProposalResponsePayload, "result": p.response.Extension,
		"results": p.result.Results, "event": p.result.Events,
	} {
		whole[name] = raw
	}
	codes := map[string]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		layer := rapid.SampledFrom(layers).Draw(rt, "layer")
		p := takeApart(t)
		p.raw[layer] = damage(rt, whole[layer])
		raw := p.assemble(t)
		_, got := wire.ParseEnvelope(raw)
		if want := verdict(raw); got != want {
			rt.Fatalf("%s damaged to %x: got %s, want %s", layer, p.raw[layer], got, want)
		}
		codes[got.String()] = true
	})
	if len(codes) < 6 {
		t.Errorf("the damage led to no more than %v", codes)
	}
}

func damage(t *rapid.T, raw []byte) []byte {
	at := rapid.IntRange(0, len(raw)).Draw(t, "at")
	until := min(len(raw), at+rapid.IntRange(0, 8).Draw(t, "length"))
	switch rapid.IntRange(0, 5).Draw(t, "damage") {
	case 0:
		return slices.Concat(raw[:at], rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "bytes"), raw[until:])
	case 1:
		return raw[:at]
	case 2:
		return slices.Concat(raw, raw) // every field twice
	case 3:
		return append(slices.Clone(raw), drawField(t)...)
	case 4:
		return slices.Concat(drawField(t), raw)
	default:
		return slices.Concat(raw, drawField(t), raw)
	}
}

// drawField is a field that is known, or not, of any wire type, or nearly a field.
func drawField(t *rapid.T) []byte {
	number := protowire.Number(rapid.SampledFrom([]int{0, 1, 2, 3, 4, 15, 16, 1<<29 - 1, 1 << 29, 1<<31 - 1}).Draw(t, "number"))
	kind := protowire.Type(rapid.IntRange(0, 7).Draw(t, "kind"))
	raw := protowire.AppendVarint(nil, uint64(number)<<3|uint64(kind))
	content := rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "content")
	if kind == protowire.BytesType && rapid.Bool().Draw(t, "fits") {
		return protowire.AppendBytes(raw, content)
	}
	return append(raw, content...)
}
