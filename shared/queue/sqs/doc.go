// Package sqs takes a queue's messages from SQS: in a Lambda function, as a Function, and in a server, as a Consumer. A Queue puts them
// there, for the API. All of them hand messages to the one queue.Handler.
//
// # Dead letters
//
// SQS moves a message that was received too often to the dead-letter queue of its redrive policy, and does not say why. What is known
// to be poison at its first run need not be run again, and in a FIFO queue its group need not wait for that: it is sent to the
// dead-letter queue at once, with the reason in its attributes, and deleted. Without the dead-letter queue's URL, or where a body leaves
// no room for the reason, the redrive policy does it, and the reason is in the log.
//
// Of a message that is sent to the dead letters and not deleted, because its function is killed in between, there are two. Both are the
// same transaction.
package sqs
