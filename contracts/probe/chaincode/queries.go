package chaincode

import (
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// rows reads a query to its end, or up to op.Take rows, and closes it unless it is to be left open. metadata is nil for a
// query without pages.
func rows(op *operation, iterator shim.StateQueryIteratorInterface, metadata *peer.QueryResponseMetadata, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	list := []any{}
	err = read(op, iterator, func() error {
		row, err := iterator.Next()
		if err != nil {
			return err
		}
		found["namespace"] = row.GetNamespace()
		list = append(list, map[string]any{"key": showString(row.GetKey()), "value": show(row.GetValue())})
		return nil
	})
	if err != nil {
		return nil, err
	}
	found["rows"] = list
	if metadata != nil {
		found["fetched"] = metadata.GetFetchedRecordsCount()
		found["bookmark"] = showString(metadata.GetBookmark())
	}
	return found, nil
}

func read(op *operation, iterator shim.CommonIteratorInterface, next func() error) error {
	for n := 0; (op.Take == nil || n < *op.Take) && iterator.HasNext(); n++ {
		if err := next(); err != nil {
			return err
		}
	}
	if op.LeaveOpen {
		return nil
	}
	return iterator.Close()
}

func getStateByRange(c *call, op *operation) (any, error) {
	bounds, err := c.strings(op.Start, op.End)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetStateByRange(bounds[0], bounds[1])
	return rows(op, iterator, nil, err)
}

func getStateByRangeWithPagination(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Start, op.End, op.Bookmark)
	if err != nil {
		return nil, err
	}
	iterator, metadata, err := c.stub.GetStateByRangeWithPagination(names[0], names[1], op.PageSize, names[2])
	return rows(op, iterator, metadata, err)
}

func getStateByPartialCompositeKey(c *call, op *operation) (any, error) {
	names, err := c.strings(append([]text{op.Type}, op.Attributes...)...)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetStateByPartialCompositeKey(names[0], names[1:])
	return rows(op, iterator, nil, err)
}

func getStateByPartialCompositeKeyWithPagination(c *call, op *operation) (any, error) {
	names, err := c.strings(append([]text{op.Bookmark, op.Type}, op.Attributes...)...)
	if err != nil {
		return nil, err
	}
	iterator, metadata, err := c.stub.GetStateByPartialCompositeKeyWithPagination(names[1], names[2:], op.PageSize, names[0])
	return rows(op, iterator, metadata, err)
}

func getAllStatesCompositeKeyWithPagination(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Bookmark)
	if err != nil {
		return nil, err
	}
	iterator, metadata, err := c.stub.GetAllStatesCompositeKeyWithPagination(op.PageSize, names[0])
	return rows(op, iterator, metadata, err)
}

func getQueryResult(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Query)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetQueryResult(names[0])
	return rows(op, iterator, nil, err)
}

func getQueryResultWithPagination(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Query, op.Bookmark)
	if err != nil {
		return nil, err
	}
	iterator, metadata, err := c.stub.GetQueryResultWithPagination(names[0], op.PageSize, names[1])
	return rows(op, iterator, metadata, err)
}

func getPrivateDataByRange(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Collection, op.Start, op.End)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetPrivateDataByRange(names[0], names[1], names[2])
	return rows(op, iterator, nil, err)
}

func getPrivateDataByPartialCompositeKey(c *call, op *operation) (any, error) {
	names, err := c.strings(append([]text{op.Collection, op.Type}, op.Attributes...)...)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetPrivateDataByPartialCompositeKey(names[0], names[1], names[2:])
	return rows(op, iterator, nil, err)
}

func getPrivateDataQueryResult(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Collection, op.Query)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetPrivateDataQueryResult(names[0], names[1])
	return rows(op, iterator, nil, err)
}

func getHistoryForKey(c *call, op *operation) (any, error) {
	key, err := c.strings(op.Key)
	if err != nil {
		return nil, err
	}
	iterator, err := c.stub.GetHistoryForKey(key[0])
	if err != nil {
		return nil, err
	}
	list := []any{}
	err = read(op, iterator, func() error {
		change, err := iterator.Next()
		if err != nil {
			return err
		}
		list = append(list, map[string]any{
			"txId":      change.GetTxId(),
			"value":     show(change.GetValue()),
			"isDelete":  change.GetIsDelete(),
			"timestamp": change.GetTimestamp().AsTime().Format(time.RFC3339Nano),
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"rows": list}, nil
}
