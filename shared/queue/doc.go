// Package queue runs transactions that were accepted and are not waited for. One message is one transaction, whose id follows from
// the message's id and its user: delivered once or ten times, it is committed once.
//
// There is one handler for all messages. A Queue keeps them on this machine, in a Store, and hands them to it; package queue/sqs
// takes them from SQS, in a function or in a server.
//
// What becomes of a message:
//
//   - It is committed, now or by an earlier delivery: it leaves the queue.
//   - It can never be (it cannot be read, its chaincode does not exist, the contract refuses it): it is poison, and goes to the dead
//     letters with the reason.
//   - It cannot be now (the store is not available, the outcome is unknown, it lost its race too often, the contract crashed): it
//     stays, and is delivered again.
//
// Messages of one group are run in their order, one after the other: while one of them waits, the later ones wait behind it. One that
// has gone to the dead letters holds up nobody.
package queue
