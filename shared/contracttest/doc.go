// Package contracttest runs a chaincode against a real ledger in memory, for the tests of those who write contracts.
//
//	func TestTransfer(t *testing.T) {
//		l := contracttest.New(t, new(SmartContract))
//		l.MustSubmit("CreateAsset", "a1", "blue", 5, "Tom", 300)
//		l.MustSubmit("TransferAsset", "a1", "Anna")
//		l.Submit("TransferAsset", "a9", "Anna").MustFail("does not exist")
//
//		var asset Asset
//		l.MustEvaluate("ReadAsset", "a1").JSON(&asset)
//		if asset.Owner != "Anna" {
//			t.Errorf("owner is %s, want Anna", asset.Owner)
//		}
//	}
//
// Nothing is imitated. The contract talks to its shim, transactions are signed, endorsed, ordered into blocks, and validated as
// on a server, with Fabric's read-write sets, versions and verdicts: a transaction does not see its own writes, and one that lost
// a race is refused. When the test ends the whole chain is replayed and compared with the state.
//
// A Ledger calls one chaincode as one user. As, Of, WithTransient and Chaincode return another view of the same ledger.
// Time stands still at Epoch until Advance, so that what a contract makes of the timestamp is the same in every run.
// Options.Collections gives the contract its collections of private data.
package contracttest
