// Package chaincode is the asset-transfer contract: assets under their ids, created, read, updated, deleted and handed on.
//
// Function names, argument order, JSON and error texts are those that clients of Fabric's well-known sample rely on. There
// is no access control: whoever may write to the channel may change any asset.
package chaincode

import (
	"encoding/json"
	"fmt"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
)

// SmartContract has the contract's transactions. Its name is the namespace under which clients can name them, as in
// SmartContract:ReadAsset.
type SmartContract struct {
	contractapi.Contract
}

// Asset is what the ledger keeps under an asset's id. The fields are in alphabetical order, so that every implementation
// of the contract stores the same bytes.
type Asset struct {
	AppraisedValue int    `json:"AppraisedValue"`
	Color          string `json:"Color"`
	ID             string `json:"ID"`
	Owner          string `json:"Owner"`
	Size           int    `json:"Size"`
}

// New returns the chaincode, for the main program and for hosts that run it in process.
func New() (*contractapi.ContractChaincode, error) {
	contract := new(SmartContract)
	contract.Info.Title = "Asset transfer"
	contract.Info.Description = "Assets and their owners"
	contract.Info.Version = "1.0"
	chaincode, err := contractapi.NewChaincode(contract)
	if err != nil {
		return nil, fmt.Errorf("build asset transfer: %w", err)
	}
	chaincode.Info.Title = contract.Info.Title
	chaincode.Info.Version = contract.Info.Version
	return chaincode, nil
}

// GetEvaluateTransactions names the transactions that only read, for the contract's metadata.
func (s *SmartContract) GetEvaluateTransactions() []string {
	return []string{"AssetExists", "GetAllAssets", "ReadAsset"}
}

// InitLedger puts six assets on the ledger, over any that have their ids.
func (s *SmartContract) InitLedger(ctx contractapi.TransactionContextInterface) error {
	for _, asset := range []Asset{
		{ID: "asset1", Color: "blue", Size: 5, Owner: "Tomoko", AppraisedValue: 300},
		{ID: "asset2", Color: "red", Size: 5, Owner: "Brad", AppraisedValue: 400},
		{ID: "asset3", Color: "green", Size: 10, Owner: "Jin Soo", AppraisedValue: 500},
		{ID: "asset4", Color: "yellow", Size: 10, Owner: "Max", AppraisedValue: 600},
		{ID: "asset5", Color: "black", Size: 15, Owner: "Adriana", AppraisedValue: 700},
		{ID: "asset6", Color: "white", Size: 15, Owner: "Michel", AppraisedValue: 800},
	} {
		if err := put(ctx, &asset); err != nil {
			return err
		}
	}
	return nil
}

// CreateAsset puts a new asset on the ledger; there must be none with its id.
func (s *SmartContract) CreateAsset(ctx contractapi.TransactionContextInterface, id, color string, size int, owner string, appraisedValue int) error {
	exists, err := s.AssetExists(ctx, id)
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("the asset %s already exists", id)
	}
	return put(ctx, &Asset{ID: id, Color: color, Size: size, Owner: owner, AppraisedValue: appraisedValue})
}

// ReadAsset returns the asset with the id.
func (s *SmartContract) ReadAsset(ctx contractapi.TransactionContextInterface, id string) (*Asset, error) {
	stored, err := get(ctx, id)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, missing(id)
	}
	return decode(stored)
}

// UpdateAsset replaces all fields of an asset that exists.
func (s *SmartContract) UpdateAsset(ctx contractapi.TransactionContextInterface, id, color string, size int, owner string, appraisedValue int) error {
	exists, err := s.AssetExists(ctx, id)
	if err != nil {
		return err
	}
	if !exists {
		return missing(id)
	}
	return put(ctx, &Asset{ID: id, Color: color, Size: size, Owner: owner, AppraisedValue: appraisedValue})
}

// DeleteAsset removes an asset that exists.
func (s *SmartContract) DeleteAsset(ctx contractapi.TransactionContextInterface, id string) error {
	exists, err := s.AssetExists(ctx, id)
	if err != nil {
		return err
	}
	if !exists {
		return missing(id)
	}
	return ctx.GetStub().DelState(id)
}

// AssetExists tells whether there is an asset with the id.
func (s *SmartContract) AssetExists(ctx contractapi.TransactionContextInterface, id string) (bool, error) {
	stored, err := get(ctx, id)
	return stored != nil, err
}

// TransferAsset gives an asset to a new owner and returns the old one.
func (s *SmartContract) TransferAsset(ctx contractapi.TransactionContextInterface, id, newOwner string) (string, error) {
	asset, err := s.ReadAsset(ctx, id)
	if err != nil {
		return "", err
	}
	oldOwner := asset.Owner
	asset.Owner = newOwner
	if err := put(ctx, asset); err != nil {
		return "", err
	}
	return oldOwner, nil
}

// GetAllAssets returns every asset, in the order of their ids.
func (s *SmartContract) GetAllAssets(ctx contractapi.TransactionContextInterface) ([]*Asset, error) {
	rows, err := ctx.GetStub().GetStateByRange("", "")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	assets := []*Asset{} // not nil: the result's schema is an array
	for rows.HasNext() {
		row, err := rows.Next()
		if err != nil {
			return nil, err
		}
		asset, err := decode(row.Value)
		if err != nil {
			return nil, err
		}
		assets = append(assets, asset)
	}
	return assets, nil
}

func missing(id string) error {
	return fmt.Errorf("the asset %s does not exist", id)
}

func get(ctx contractapi.TransactionContextInterface, id string) ([]byte, error) {
	stored, err := ctx.GetStub().GetState(id)
	if err != nil {
		return nil, fmt.Errorf("failed to read from world state: %w", err)
	}
	return stored, nil
}

func put(ctx contractapi.TransactionContextInterface, asset *Asset) error {
	encoded, err := json.Marshal(asset)
	if err != nil {
		return err
	}
	if err := ctx.GetStub().PutState(asset.ID, encoded); err != nil {
		return fmt.Errorf("failed to put to world state. %w", err)
	}
	return nil
}

func decode(stored []byte) (*Asset, error) {
	asset := new(Asset)
	if err := json.Unmarshal(stored, asset); err != nil {
		return nil, err
	}
	return asset, nil
}
