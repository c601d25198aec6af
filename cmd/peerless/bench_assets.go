package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// benchChaincode is the name under which the asset-transfer contract is deployed.
const benchChaincode = "assets"

// assetSize is what an asset takes in the ledger, in bytes of JSON.
const assetSize = 150

// assetID spreads assets over the keys: neighbours in number are not neighbours in the ledger.
func assetID(n int) string {
	x := uint64(n) + 0x9e3779b97f4a7c15 // splitmix64, which maps no two numbers to one
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return fmt.Sprintf("a%016x", x^x>>31)
}

// assetOwner is a name of the length that gives an asset its size.
func assetOwner(n int) string {
	rest := assetSize - len(assetJSON(assetID(0), ""))
	return fmt.Sprintf("%0*d", rest, n)
}

func assetJSON(id, owner string) string {
	return `{"AppraisedValue":300,"Color":"blue","ID":"` + id + `","Owner":"` + owner + `","Size":5}`
}

func benchPath(channel, verb string) string {
	return "/v1/channels/" + channel + "/chaincodes/" + benchChaincode + "/" + verb
}

// Bodies of requests.

func appendCall(b []byte, function string, args ...string) []byte {
	b = append(append(append(b, `{"function":"`...), function...), `","args":["`...)
	b = append(b, strings.Join(args, `","`)...)
	return append(b, `"]}`...)
}

func createBody(b []byte, n int) []byte {
	return appendCall(b, "CreateAsset", assetID(n), "blue", "5", assetOwner(n), "300")
}

func readBody(b []byte, n int) []byte {
	return appendCall(b, "ReadAsset", assetID(n))
}

func transferBody(b []byte, n int) []byte {
	return appendCall(b, "TransferAsset", assetID(0), assetOwner(n))
}

// loadBatch is how many assets a transaction of the loader writes.
const loadBatch = 2000

// assetLoader is deployed in place of the contract for as long as it takes to write many assets, with few large transactions, and to
// measure rich queries, which the contract does not make.
type assetLoader struct{}

var _ shim.Chaincode = assetLoader{}

func (assetLoader) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// assetIndex is what the loader's queries need.
const assetIndex = `{"index":{"fields":["Color","Owner"]},"ddoc":"colorOwner","name":"colorOwner","type":"json"}`

func queryBody(b []byte, from, page int) []byte {
	return appendCall(b, "query", assetOwner(from), strconv.Itoa(page))
}

// query returns how many assets a page has of those whose owners come after the first argument, in their order.
func (assetLoader) query(stub shim.ChaincodeStubInterface, args []string) *peer.Response {
	page, err := strconv.ParseInt(args[2], 10, 32)
	if err != nil {
		return shim.Error(err.Error())
	}
	it, metadata, err := stub.GetQueryResultWithPagination(`{"selector":{"Color":"blue","Owner":{"$gte":"`+args[1]+`"}},"sort":["Color","Owner"]}`, int32(page), "")
	if err != nil {
		return shim.Error(err.Error())
	}
	defer it.Close()
	for it.HasNext() {
		if _, err := it.Next(); err != nil {
			return shim.Error(err.Error())
		}
	}
	if metadata.FetchedRecordsCount != int32(page) {
		return shim.Error(fmt.Sprintf("the page has %d assets, want %d", metadata.FetchedRecordsCount, page))
	}
	return shim.Success([]byte(args[2]))
}

// Invoke writes the assets whose numbers run from its first argument to before its second, or makes a rich query.
func (l assetLoader) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	args := stub.GetStringArgs()
	if len(args) == 3 && args[0] == "query" {
		return l.query(stub, args)
	}
	if len(args) != 3 {
		return shim.Error("want load, the first number and the one after the last")
	}
	from, err := strconv.Atoi(args[1])
	if err != nil {
		return shim.Error(err.Error())
	}
	to, err := strconv.Atoi(args[2])
	if err != nil {
		return shim.Error(err.Error())
	}
	for n := from; n < to; n++ {
		id := assetID(n)
		if err := stub.PutState(id, []byte(assetJSON(id, assetOwner(n)))); err != nil {
			return shim.Error(err.Error())
		}
	}
	return shim.Success(nil)
}
