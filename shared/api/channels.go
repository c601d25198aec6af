package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

type newChannel struct {
	name          string
	organizations []string
}

func decodeNewChannel(q *request) (*newChannel, error) {
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	in := &newChannel{}
	r := jsonReader{data: body}
	err = r.fields(func(name string) (err error) {
		switch name {
		case "name":
			in.name, err = r.text(name)
		case "organizations":
			in.organizations, err = r.names(name)
		default:
			err = unknown(name, "name, organizations")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return in, checkChannel("name", in.name)
}

// channelView is a channel as the API shows it.
type channelView struct {
	Name             string   `json:"name"`
	Height           uint64   `json:"height"` // the number of blocks
	Organizations    []string `json:"organizations"`
	CurrentBlockHash string   `json:"currentBlockHash"`      // header hash of the newest block, in hex
	VerifierKey      string   `json:"verifierKey,omitempty"` // of the channel's checkpoints; empty if the server signs none
}

func (h *Handler) createChannel(ctx context.Context, p *Principal, in *newChannel) (created, error) {
	if len(p.Channels) > 0 && !slices.Contains(p.Channels, in.name) {
		return created{}, forbidden("this key is not for the channel \"" + in.name + "\"")
	}
	organizations := in.organizations
	if len(organizations) == 0 {
		organizations = []string{p.MSPID}
	}
	if p.tenant != nil && !slices.Equal(organizations, []string{p.tenant.Organization}) {
		return created{}, forbidden("the channels of the tenant " + p.Tenant + " are of its organisation, " + p.tenant.Organization)
	}
	if err := h.Gateway.CreateChannel(ctx, in.name, organizations); err != nil {
		return created{}, err
	}
	if p.tenant != nil { // if this fails the channel is nobody's: an administrator of the platform can give it to the tenant
		if err := h.keys.own(ctx, p.Tenant, in.name); err != nil {
			return created{}, Unavailable("give the channel to its tenant", err)
		}
	}
	view, err := h.showChannel(ctx, p, in.name)
	return created{"/v1/channels/" + url.PathEscape(in.name), view}, err
}

type channelList struct {
	Channels []channelName `json:"channels"`
}

type channelName struct {
	Name string `json:"name"`
}

func (h *Handler) listChannels(ctx context.Context, p *Principal, _ none) (*channelList, error) {
	names, err := h.Gateway.Channels(ctx)
	if err != nil {
		return nil, err
	}
	list := &channelList{Channels: []channelName{}}
	for _, name := range names {
		if p.seesChannel(name) {
			list.Channels = append(list.Channels, channelName{name})
		}
	}
	return list, nil
}

func (h *Handler) showChannel(ctx context.Context, _ *Principal, name string) (*channelView, error) {
	channel, err := h.Gateway.Channel(ctx, name)
	if err != nil {
		return nil, err
	}
	height, err := channel.Height(ctx)
	if err != nil {
		return nil, fmt.Errorf("height of %s: %w", name, err)
	}
	view := &channelView{Name: name, Height: height, Organizations: channel.Config().Members()}
	if height > 0 {
		newest, err := readBlock(ctx, channel, height-1)
		if err != nil {
			return nil, err
		}
		view.CurrentBlockHash = hex.EncodeToString(wire.HeaderHash(newest.block.GetHeader()))
	}
	if view.VerifierKey, err = channel.VerifierKey(ctx); err != nil && !errors.Is(err, ledger.ErrNoCheckpoints) {
		return nil, err
	}
	return view, nil
}

func readBlock(ctx context.Context, channel Channel, number uint64) (decodedBlock, error) {
	raw, err := channel.RawBlock(ctx, number)
	if err != nil {
		return decodedBlock{}, fmt.Errorf("read block %d: %w", number, err)
	}
	block := &common.Block{}
	if err := proto.Unmarshal(raw, block); err != nil {
		return decodedBlock{}, fmt.Errorf("read block %d: %w", number, err)
	}
	return decodedBlock{raw, block}, nil
}

// Decoders of requests that have nothing but their path.
func decodeNone(*request) (none, error)        { return none{}, nil }
func decodeChannel(q *request) (string, error) { return q.channel, nil }
func decodeBoth(q *request) (target, error)    { return target{q.channel, q.chaincode}, nil }

type target struct{ channel, chaincode string }
