// Package stack is a Peerless that `sam deploy` made, seen from outside: where its CloudFormation stack says that things are, and
// the contracts that run in it, each in a Lambda function of its own.
//
// A contract's function is named by what it runs, FunctionName, so nothing has to be looked up. Deploying publishes a version
// of the function that never changes, with an alias named by the fingerprint of all that went into it: what was deployed before
// is recognised by its alias alone, and going back to it makes nothing anew. What the platform runs is an alias, so that an
// update under way is never seen. The alias "live" shows to people which version runs.
//
// The caller's credentials need, on functions whose names have the stack's prefix: lambda:GetFunction, GetFunctionConfiguration, GetAlias,
// CreateFunction, UpdateFunctionCode, UpdateFunctionConfiguration, PublishVersion, CreateAlias, UpdateAlias and DeleteFunction; on the
// adapter's layer lambda:GetLayerVersion; on the contracts' role iam:PassRole; and cloudformation:DescribeStacks on the stack. Errors are a
// *SettingError where a setting is wrong.
package stack
