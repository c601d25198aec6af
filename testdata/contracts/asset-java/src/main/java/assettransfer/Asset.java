package assettransfer;

import org.hyperledger.fabric.contract.annotation.DataType;
import org.hyperledger.fabric.contract.annotation.Property;
import org.json.JSONObject;

/** What the ledger keeps under an asset's id. */
@DataType()
public final class Asset {
    @Property()
    private final int AppraisedValue;

    @Property()
    private final String Color;

    @Property()
    private final String ID;

    @Property()
    private final String Owner;

    @Property()
    private final int Size;

    public Asset(final String id, final String color, final int size, final String owner, final int appraisedValue) {
        this.ID = id;
        this.Color = color;
        this.Size = size;
        this.Owner = owner;
        this.AppraisedValue = appraisedValue;
    }

    static Asset decode(final String stored) {
        final JSONObject o = new JSONObject(stored);
        return new Asset(o.getString("ID"), o.getString("Color"), o.getInt("Size"), o.getString("Owner"), o.getInt("AppraisedValue"));
    }

    /** The JSON of the asset, its fields in alphabetical order. */
    String encode() {
        return "{\"AppraisedValue\":" + AppraisedValue + ",\"Color\":" + JSONObject.quote(Color) + ",\"ID\":" + JSONObject.quote(ID)
                + ",\"Owner\":" + JSONObject.quote(Owner) + ",\"Size\":" + Size + "}";
    }

    String owner() {
        return Owner;
    }

    Asset ownedBy(final String owner) {
        return new Asset(ID, Color, Size, owner, AppraisedValue);
    }
}
