package wire

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// FilterBlock makes of a block what a peer's DeliverFiltered sends of it: ids, types, verdicts, and events without payload.
// Fabric's core/peer toFilteredBlock.
func FilterBlock(block *common.Block) (*peer.FilteredBlock, error) {
	codes, err := ValidationCodes(block)
	if err != nil {
		return nil, fmt.Errorf("filter block %d: %w", block.GetHeader().GetNumber(), err)
	}
	filtered := &peer.FilteredBlock{Number: block.GetHeader().GetNumber()}
	for i, envelope := range block.GetData().GetData() {
		tx := &peer.FilteredTransaction{TxValidationCode: peer.TxValidationCode_NOT_VALIDATED}
		if i < len(codes) {
			tx.TxValidationCode = codes[i]
		}
		if parsed, _ := ParseEnvelope(envelope); parsed != nil {
			filtered.ChannelId = parsed.Channel
			tx.Txid, tx.Type = parsed.TxID, parsed.Type
			if parsed.Type == common.HeaderType_ENDORSER_TRANSACTION {
				tx.Data = &peer.FilteredTransaction_TransactionActions{TransactionActions: filteredActions(parsed.Event)}
			}
		}
		filtered.FilteredTransactions = append(filtered.FilteredTransactions, tx)
	}
	return filtered, nil
}

func filteredActions(event *peer.ChaincodeEvent) *peer.FilteredTransactionActions {
	if event.GetChaincodeId() == "" {
		return &peer.FilteredTransactionActions{}
	}
	return &peer.FilteredTransactionActions{ChaincodeActions: []*peer.FilteredChaincodeAction{{ChaincodeEvent: &peer.ChaincodeEvent{
		ChaincodeId: event.GetChaincodeId(), TxId: event.GetTxId(), EventName: event.GetEventName(),
	}}}}
}
