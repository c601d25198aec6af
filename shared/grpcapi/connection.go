package grpcapi

import (
	"context"
	"crypto/sha256"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// certificateHash returns the SHA-256 of the client's TLS certificate; nil on a connection without one.
func certificateHash(ctx context.Context) []byte {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	hash := sha256.Sum256(info.State.PeerCertificates[0].Raw)
	return hash[:]
}

// authority returns the host that a client asks for, without its port: what it connected to, or what it was told to say.
func authority(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, ":authority")
	if len(values) == 0 {
		return ""
	}
	host, _, err := net.SplitHostPort(values[0])
	if err != nil {
		host = values[0]
	}
	return strings.ToLower(host)
}
