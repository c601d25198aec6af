// Package lambda is a chaincode.Host over a Lambda function: the gateway's end of package invocation.
//
// A Host belongs to one chaincode of one channel, and so does its function. It gives the function each proposal, with temporary
// credentials for reading the chaincode's namespace, and merges what comes back into the transaction after checking it: it
// must be of that namespace, well-formed, and within the limits. What was read is checked when the transaction is validated. So a
// function can spoil its own chaincode's transactions and nothing else. What it asks of private data the Host reads and writes
// itself, by the rules for a contract in this process.
//
// # Batches
//
// An execution is sent at once as long as fewer than Concurrency invocations are under way. Those that come when all are
// taken wait, and the next invocation that returns takes all of them along as one batch, up to MaxBatch and the payload's
// limit. Nobody waits for company that may not come: there is no pause to choose, an idle gateway adds no latency, and a
// busy one needs Concurrency environments of the function instead of one for each transaction. The price is that a
// transaction waits for the slowest of its batch. So what is in a batch gets only a short time; a batch in which something
// went wrong (a crash, a contract that does not end, an answer that is too large) is taken apart and each part is invoked
// alone, with all its time. To simulate twice is harmless. After a contract was slow nothing is batched for a minute.
package lambda
