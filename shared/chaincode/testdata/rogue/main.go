// Command rogue is a program for tests of the process host that does not speak the chaincode protocol as it should. ROGUE
// says what it does instead.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

func main() {
	address := flag.String("peer.address", "", "where to dial in")
	flag.Parse()
	if err := run(*address, os.Getenv("ROGUE")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, manner string) error {
	switch manner {
	case "silent":
		select {}
	case "stubborn": // does not end when it is asked to
		signal.Ignore(syscall.SIGTERM)
		stream, err := register(address, os.Getenv("CORE_CHAINCODE_ID_NAME"))
		if err != nil {
			return err
		}
		for {
			if _, err := stream.Recv(); err != nil {
				select {}
			}
		}
	case "noise": // not even gRPC
		conn, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
		if err != nil {
			return err
		}
		if _, err := conn.Write([]byte(strings.Repeat("\x00noise\xff", 1000))); err != nil {
			return err
		}
		select {}
	case "impostor": // somebody else's name, and then it stays
		if _, err := register(address, "somebody-else"); err != nil {
			return err
		}
		select {}
	case "garbage": // registers, then answers the first transaction with what is no message
		return garbage(address)
	}
	return fmt.Errorf("unknown manner %q", manner)
}

func register(address, name string) (clientStream, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return clientStream{}, err
	}
	stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		peer.ChaincodeSupport_Register_FullMethodName, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return clientStream{}, err
	}
	payload, err := proto.Marshal(&peer.ChaincodeID{Name: name})
	if err != nil {
		return clientStream{}, err
	}
	message, err := proto.Marshal(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTER, Payload: payload})
	if err != nil {
		return clientStream{}, err
	}
	return clientStream{stream}, stream.SendMsg(message)
}

func garbage(address string) error {
	stream, err := register(address, os.Getenv("CORE_CHAINCODE_ID_NAME"))
	if err != nil {
		return err
	}
	for {
		raw, err := stream.Recv()
		if err != nil {
			return err
		}
		message := &peer.ChaincodeMessage{}
		if err := proto.Unmarshal(raw, message); err != nil {
			return err
		}
		if message.Type == peer.ChaincodeMessage_TRANSACTION {
			if err := stream.SendMsg([]byte("\xff\xffthis is no message")); err != nil {
				return err
			}
		}
	}
}

// clientStream carries raw bytes.
type clientStream struct{ grpc.ClientStream }

func (s clientStream) Recv() ([]byte, error) {
	var raw []byte
	err := s.RecvMsg(&raw)
	return raw, err
}

// rawCodec passes bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }

func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
