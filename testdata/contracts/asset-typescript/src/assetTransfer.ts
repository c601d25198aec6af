import { Context, Contract, Info, Returns, Transaction } from 'fabric-contract-api';
import { Asset } from './asset';

// The asset-transfer contract: what contracts/assettransfer is in Go, byte for byte in what it stores and returns.
@Info({ title: 'Asset transfer', description: 'Assets and their owners' })
export class AssetTransfer extends Contract {
    @Transaction()
    public async InitLedger(ctx: Context): Promise<void> {
        for (const [id, color, size, owner, value] of [
            ['asset1', 'blue', 5, 'Tomoko', 300],
            ['asset2', 'red', 5, 'Brad', 400],
            ['asset3', 'green', 10, 'Jin Soo', 500],
            ['asset4', 'yellow', 10, 'Max', 600],
            ['asset5', 'black', 15, 'Adriana', 700],
            ['asset6', 'white', 15, 'Michel', 800],
        ] as [string, string, number, string, number][]) {
            await this.put(ctx, { AppraisedValue: value, Color: color, ID: id, Owner: owner, Size: size });
        }
    }

    @Transaction()
    public async CreateAsset(ctx: Context, id: string, color: string, size: number, owner: string, appraisedValue: number): Promise<void> {
        if (await this.AssetExists(ctx, id)) {
            throw new Error(`the asset ${id} already exists`);
        }
        await this.put(ctx, { AppraisedValue: appraisedValue, Color: color, ID: id, Owner: owner, Size: size });
    }

    @Transaction(false)
    @Returns('Asset')
    public async ReadAsset(ctx: Context, id: string): Promise<Asset> {
        const stored = await ctx.stub.getState(id);
        if (stored.length === 0) {
            throw new Error(`the asset ${id} does not exist`);
        }
        return JSON.parse(Buffer.from(stored).toString()) as Asset;
    }

    @Transaction()
    public async UpdateAsset(ctx: Context, id: string, color: string, size: number, owner: string, appraisedValue: number): Promise<void> {
        if (!(await this.AssetExists(ctx, id))) {
            throw new Error(`the asset ${id} does not exist`);
        }
        await this.put(ctx, { AppraisedValue: appraisedValue, Color: color, ID: id, Owner: owner, Size: size });
    }

    @Transaction()
    public async DeleteAsset(ctx: Context, id: string): Promise<void> {
        if (!(await this.AssetExists(ctx, id))) {
            throw new Error(`the asset ${id} does not exist`);
        }
        await ctx.stub.deleteState(id);
    }

    @Transaction(false)
    @Returns('boolean')
    public async AssetExists(ctx: Context, id: string): Promise<boolean> {
        return (await ctx.stub.getState(id)).length > 0;
    }

    @Transaction()
    @Returns('string')
    public async TransferAsset(ctx: Context, id: string, newOwner: string): Promise<string> {
        const asset = await this.ReadAsset(ctx, id);
        const oldOwner = asset.Owner;
        await this.put(ctx, { ...asset, Owner: newOwner });
        return oldOwner;
    }

    @Transaction(false)
    @Returns('Asset[]')
    public async GetAllAssets(ctx: Context): Promise<Asset[]> {
        const assets: Asset[] = [];
        const rows = await ctx.stub.getStateByRange('', '');
        for (let row = await rows.next(); !row.done; row = await rows.next()) {
            assets.push(JSON.parse(Buffer.from(row.value.value).toString()) as Asset);
        }
        await rows.close();
        return assets;
    }

    // put stores the fields in alphabetical order.
    private async put(ctx: Context, asset: Asset): Promise<void> {
        const { AppraisedValue, Color, ID, Owner, Size } = asset;
        await ctx.stub.putState(ID, Buffer.from(JSON.stringify({ AppraisedValue, Color, ID, Owner, Size })));
    }
}
