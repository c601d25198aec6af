import 'reflect-metadata';
import { AssetTransfer } from './assetTransfer';

export const contracts = [AssetTransfer];
