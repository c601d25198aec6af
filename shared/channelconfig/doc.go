// Package channelconfig makes and reads a channel's configuration: its organisations and its policies, in Fabric's tree
// of groups, values and policies.
//
// Genesis makes a channel's first block; Parse reads a configuration block, ours or a real network's. A Config answers
// whether identities satisfy a policy by its path, implicit meta policies included (common/policies of Fabric). What an
// update of a configuration may change, and who must sign it, is left out: a new configuration is taken from its block.
package channelconfig
