package assettransfer;

import java.util.ArrayList;
import java.util.List;

import org.hyperledger.fabric.contract.Context;
import org.hyperledger.fabric.contract.ContractInterface;
import org.hyperledger.fabric.contract.annotation.Contract;
import org.hyperledger.fabric.contract.annotation.Default;
import org.hyperledger.fabric.contract.annotation.Info;
import org.hyperledger.fabric.contract.annotation.Transaction;
import org.hyperledger.fabric.shim.ChaincodeException;
import org.hyperledger.fabric.shim.ledger.KeyValue;
import org.hyperledger.fabric.shim.ledger.QueryResultsIterator;

/** The asset-transfer contract: what contracts/assettransfer is in Go, byte for byte in what it stores and returns. */
@Contract(name = "AssetTransfer", info = @Info(title = "Asset transfer", description = "Assets and their owners", version = "1.0"))
@Default
public final class AssetTransfer implements ContractInterface {

    @Transaction(intent = Transaction.TYPE.SUBMIT)
    public void InitLedger(final Context ctx) {
        put(ctx, "asset1", new Asset("asset1", "blue", 5, "Tomoko", 300));
        put(ctx, "asset2", new Asset("asset2", "red", 5, "Brad", 400));
        put(ctx, "asset3", new Asset("asset3", "green", 10, "Jin Soo", 500));
        put(ctx, "asset4", new Asset("asset4", "yellow", 10, "Max", 600));
        put(ctx, "asset5", new Asset("asset5", "black", 15, "Adriana", 700));
        put(ctx, "asset6", new Asset("asset6", "white", 15, "Michel", 800));
    }

    @Transaction(intent = Transaction.TYPE.SUBMIT)
    public void CreateAsset(final Context ctx, final String id, final String color, final int size, final String owner, final int appraisedValue) {
        if (AssetExists(ctx, id)) {
            throw new ChaincodeException("the asset " + id + " already exists");
        }
        put(ctx, id, new Asset(id, color, size, owner, appraisedValue));
    }

    @Transaction(intent = Transaction.TYPE.EVALUATE)
    public String ReadAsset(final Context ctx, final String id) {
        return get(ctx, id);
    }

    @Transaction(intent = Transaction.TYPE.SUBMIT)
    public void UpdateAsset(final Context ctx, final String id, final String color, final int size, final String owner, final int appraisedValue) {
        get(ctx, id);
        put(ctx, id, new Asset(id, color, size, owner, appraisedValue));
    }

    @Transaction(intent = Transaction.TYPE.SUBMIT)
    public void DeleteAsset(final Context ctx, final String id) {
        get(ctx, id);
        ctx.getStub().delState(id);
    }

    @Transaction(intent = Transaction.TYPE.EVALUATE)
    public boolean AssetExists(final Context ctx, final String id) {
        return !ctx.getStub().getStringState(id).isEmpty();
    }

    @Transaction(intent = Transaction.TYPE.SUBMIT)
    public String TransferAsset(final Context ctx, final String id, final String newOwner) {
        final Asset asset = Asset.decode(get(ctx, id));
        put(ctx, id, asset.ownedBy(newOwner));
        return asset.owner();
    }

    @Transaction(intent = Transaction.TYPE.EVALUATE)
    public String GetAllAssets(final Context ctx) {
        final List<String> assets = new ArrayList<>();
        try (QueryResultsIterator<KeyValue> rows = ctx.getStub().getStateByRange("", "")) {
            for (final KeyValue row : rows) {
                assets.add(row.getStringValue());
            }
        } catch (final Exception e) {
            throw new ChaincodeException(e.getMessage(), e);
        }
        return "[" + String.join(",", assets) + "]";
    }

    private static String get(final Context ctx, final String id) {
        final String stored = ctx.getStub().getStringState(id);
        if (stored.isEmpty()) {
            throw new ChaincodeException("the asset " + id + " does not exist");
        }
        return stored;
    }

    private static void put(final Context ctx, final String id, final Asset asset) {
        ctx.getStub().putStringState(id, asset.encode());
    }
}
