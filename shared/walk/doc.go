// Package walk sends a scripted set of HTTP requests to a running Peerless, whichever it is, and writes down what was answered:
// the same script, with the answers that came. Two platforms that are the same from outside give the same text.
//
// A script is steps, each a name, a request, and the answer that is wanted:
//
//	-- create an asset
//	POST /v1/channels/alpha/chaincodes/assets/submit
//	Idempotency-Key: first
//	{"function":"CreateAsset","args":["a1","blue","5","tom","100"]}
//	=> 200
//	{ … the answer as JSON, indented, its members sorted
//	}
//
// Lines between the name and the request that begin with # are for people. A name may end in tags in brackets: [as NAME] sends the key of that name, [keys] leaves the step
// out where there are no keys, [until] repeats the request until the status is the one in the script. In a request, <x*1000> is
// a thousand times x.
//
// Instead of a request a step may say "deploy CONTRACT as NAME on CHANNEL", with " policy POLICY" at the end or not: how a
// contract gets there is the one thing that platforms do in different ways. It has no answer.
//
// What differs from one run to the next is named by the order in which it appears: <h1> is the first 32-byte hash or transaction
// id, wherever it appears again, also in a later request. Times, sizes and signatures are only shown to be there.
package walk
