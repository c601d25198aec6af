package dynamodbtest_test

import (
	"sync"
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/ledger/ledgertest"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/dynamodb/dynamodbtest"
)

// The store passes the suite of all stores over the double too: what is found out with it is true of the store.
func TestStore(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	doubles := make(map[string]*dynamodbtest.Double) // by directory
	ledgertest.TestStore(t, ledgertest.Capabilities{Persistent: true}, func(t *testing.T, dir string) ledger.Store {
		mu.Lock()
		defer mu.Unlock()
		if doubles[dir] == nil {
			doubles[dir] = dynamodbtest.NewDouble()
		}
		s, err := dynamodb.Open(dynamodb.Config{Client: doubles[dir], Table: "table"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
