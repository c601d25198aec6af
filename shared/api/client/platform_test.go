package client_test

import (
	"errors"
	"testing"

	"peerless/shared/api/client"
)

// TestInsecure: a private key does not leave for a network in the clear.
func TestInsecure(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{
		"http://192.0.2.1:1": true, "http://peerless.example:1": true, "http://127.0.0.1.example:1": true,
		"http://127.0.0.1:1": false, "http://[::1]:1": false, "http://localhost:1": false, "https://127.0.0.1:1": false,
	} {
		c, err := client.New(address, client.Config{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.PutOrganization(t.Context(), "Org1MSP", client.NewOrganization{Endorser: &client.Endorser{Key: "k"}})
		if errors.Is(err, client.ErrInsecure) != refused {
			t.Errorf("an endorser's key to %s: %v", address, err)
		}
		for _, spec := range []client.ChaincodeSpec{
			{Source: client.ChaincodeSource{ClientKey: "k"}}, {Sources: map[string]client.ChaincodeSource{"Org1MSP": {ClientKey: "k"}}},
		} {
			if _, err = c.PutChaincode(t.Context(), "trade", "asset", spec); errors.Is(err, client.ErrInsecure) != refused {
				t.Errorf("a service's client key to %s: %v", address, err)
			}
		}
	}
}
