import { Object as DataType, Property } from 'fabric-contract-api';

// Asset is what the ledger keeps under an asset's id.
@DataType()
export class Asset {
    @Property()
    public AppraisedValue = 0;

    @Property()
    public Color = '';

    @Property()
    public ID = '';

    @Property()
    public Owner = '';

    @Property()
    public Size = 0;
}
