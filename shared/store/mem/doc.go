// Package mem is a ledger.Store in memory: for tests, for `sam local`, and for contract tests. It keeps nothing after Close.
//
// It is a real store, not a double: it passes ledgertest.TestStore in each of its configurations, and is safe for
// concurrent use. Beyond the contract it checks its caller: a batch given to Apply must be the one that was given to
// Append, or the call fails with ErrMisuse.
//
// A test can make any single write fail, applied or not (Config.Hook), can make views see what is applied later
// (Config.Loose), and can make Append leave the batch to Apply (Config.SeparateApply). The last two together behave like
// a store without transactions over several items, such as DynamoDB.
package mem
