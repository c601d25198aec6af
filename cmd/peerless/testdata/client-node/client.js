// A client of the Fabric Gateway, written as for Fabric, which says what it was answered.
//
//   node client.js before|after ADDRESS CHANNEL IDENTITY TLS CHECKPOINT
//
// IDENTITY is an MSP directory of a user of Org1MSP; TLS a directory with tls-ca.pem, client.pem and client.key; CHECKPOINT a
// file. "before" calls the contract asset in every way, and reads three of the six events it causes, until the server ends. "after" goes
// on from the checkpoint.
'use strict';

const grpc = require('@grpc/grpc-js');
const { checkpointers, CommitError, CommitStatusError, connect, EndorseError, GatewayError, hash, signers, StatusCode } = require('@hyperledger/fabric-gateway');
const crypto = require('node:crypto');
const fs = require('node:fs/promises');
const path = require('node:path');

const [phase, address, channel, identityDir, tlsDir, checkpointFile] = process.argv.slice(2);
const utf8 = new TextDecoder();

async function main() {
    const tls = (name) => fs.readFile(path.join(tlsDir, name));
    const clientCertificate = await tls('client.pem');
    const client = new grpc.Client(address, grpc.credentials.createSsl(await tls('tls-ca.pem'), await tls('client.key'), clientCertificate));
    const identity = { mspId: 'Org1MSP', credentials: await fs.readFile(path.join(identityDir, 'signcerts', 'cert.pem')) };
    const sign = signers.newPrivateKeySigner(crypto.createPrivateKey(await fs.readFile(path.join(identityDir, 'keystore', 'key.pem'))));
    const tlsClientCertificateHash = hash.sha256(new crypto.X509Certificate(clientCertificate).raw);
    const deadline = () => ({ deadline: Date.now() + 30_000 });
    const options = {
        client, identity, tlsClientCertificateHash, hash: hash.sha256,
        evaluateOptions: deadline, endorseOptions: deadline, submitOptions: deadline, commitStatusOptions: deadline,
    };
    const gateway = connect({ ...options, signer: sign });
    const offline = connect(options);
    try {
        const network = gateway.getNetwork(channel);
        if (phase === 'before') {
            await transactions(network.getContract('asset'));
            await signedElsewhere(offline, sign);
            await blocks(network);
            await failures(gateway, network.getContract('asset'));
            await causeEvents(network, ['e1', 'e2', 'e3', 'e4', 'e5', 'e6']);
            await eventsUntilTheEnd(network);
        } else {
            await causeEvents(network, ['e7', 'e8', 'e9']);
            await events('event', network, { checkpoint: await checkpointers.file(checkpointFile) }, 6);
            await events('ledger', network, { startBlock: BigInt(0) }, 9);
        }
    } finally {
        offline.close();
        gateway.close();
        client.close();
    }
}

async function transactions(contract) {
    const created = await contract.submitTransaction('CreateAsset', 'a1', 'blue', '5', 'tomoko', '300');
    console.log(`submit: ${utf8.decode(created)}`);
    console.log(`evaluate: ${utf8.decode(await contract.evaluateTransaction('ReadAsset', 'a1'))}`);

    const proposal = contract.newProposal('TransferAsset', { arguments: ['a1', 'maria'] });
    const transaction = await proposal.endorse();
    console.log(`endorse: ${utf8.decode(transaction.getResult())}`);
    const commit = await transaction.submit();
    const status = await commit.getStatus();
    console.log(`status: ${status.successful} ${codeName(status.code)}, of the transaction ${status.transactionId === proposal.getTransactionId()}`);
}

// signedElsewhere makes transactions where the key is not.
async function signedElsewhere(gateway, sign) {
    const contract = gateway.getNetwork(channel).getContract('asset');
    const query = contract.newProposal('AssetExists', { arguments: ['a1'] });
    const signedQuery = gateway.newSignedProposal(query.getBytes(), await sign(query.getDigest()));
    console.log(`off-line evaluate: ${utf8.decode(await signedQuery.evaluate())}`);

    const proposal = contract.newProposal('TransferAsset', { arguments: ['a1', 'jin'] });
    const signedProposal = gateway.newSignedProposal(proposal.getBytes(), await sign(proposal.getDigest()));
    const transaction = await signedProposal.endorse();
    const signedTransaction = gateway.newSignedTransaction(transaction.getBytes(), await sign(transaction.getDigest()));
    const commit = await signedTransaction.submit();
    const signedCommit = gateway.newSignedCommit(commit.getBytes(), await sign(commit.getDigest()));
    const status = await signedCommit.getStatus();
    console.log(`off-line submit: ${utf8.decode(signedTransaction.getResult())}, ${codeName(status.code)}`);
}

async function blocks(network) {
    const numbers = [];
    const whole = await network.getBlockEvents({ startBlock: BigInt(0) });
    const filtered = await network.getFilteredBlockEvents({ startBlock: BigInt(1) });
    try {
        for await (const block of whole) {
            numbers.push(block.getHeader().getNumber());
            break;
        }
        for await (const block of filtered) {
            numbers.push(block.getNumber());
            break;
        }
    } finally {
        whole.close();
        filtered.close();
    }
    console.log(`blocks: ${numbers.join(' ')}`);
}

async function failures(gateway, contract) {
    await contract.evaluateTransaction('ReadAsset', 'nothing').catch((err) => told('evaluate', err, GatewayError));

    const wrong = contract.newProposal('ReadAsset', { arguments: ['nothing'] });
    await wrong.endorse().catch((err) => told('endorse', err, EndorseError, wrong));

    const first = await contract.newProposal('TransferAsset', { arguments: ['a1', 'first'] }).endorse();
    const late = await contract.newProposal('TransferAsset', { arguments: ['a1', 'second'] }).endorse();
    const forged = gateway.newSignedTransaction(first.getBytes(), await signers.newPrivateKeySigner(newKey())(first.getDigest()));
    await forged.submit().catch((err) => told('submit', err, GatewayError, first));

    const commit = await first.submit();
    const stranger = gateway.newSignedCommit(commit.getBytes(), await signers.newPrivateKeySigner(newKey())(commit.getDigest()));
    await stranger.getStatus().catch((err) => told('commit status', err, CommitStatusError, first));

    // What the late one read has changed.
    await commit.getStatus();
    const outcome = await (await late.submit()).getStatus();
    console.log(`late: ${outcome.successful} ${codeName(outcome.code)}`);

    // One organisation alone does not satisfy the policy.
    await contract.submit('TransferAsset', { arguments: ['a1', 'third'], endorsingOrganizations: ['Org1MSP'] }).catch((err) => {
        if (!(err instanceof CommitError)) {
            throw err;
        }
        console.log(`commit error: ${codeName(err.code)}`);
    });
}

function newKey() {
    return crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

// codeName is the name of a transaction's validation code.
function codeName(code) {
    return Object.keys(StatusCode).find((name) => StatusCode[name] === code);
}

// told says what an error tells.
function told(call, err, type, transaction) {
    if (!(err instanceof type)) {
        throw err;
    }
    const details = err.details.map((detail) => `${detail.mspId}: ${detail.message}`);
    const of = transaction ? `, of the transaction ${err.transactionId === transaction.getTransactionId()}` : '';
    console.log(`${call} error: ${err.code} ${err.cause.details} [${details.join('; ')}]${of}`);
}

// causeEvents submits transactions at the same time, so that some are in one block.
async function causeEvents(network, names) {
    const contract = network.getContract('probe');
    const commits = await Promise.all(names.map(async (name) => {
        const operations = JSON.stringify([{ op: 'SetEvent', name, payload: `payload of ${name}` }]);
        return contract.submitAsync('run', { arguments: [operations] });
    }));
    for (const commit of commits) {
        const status = await commit.getStatus();
        if (!status.successful) {
            throw new Error(`transaction ${status.transactionId} has code ${status.code}`);
        }
    }
}

// eventsUntilTheEnd takes three events, and leaves the others.
async function eventsUntilTheEnd(network) {
    const checkpointer = await checkpointers.file(checkpointFile);
    const stream = await network.getChaincodeEvents('probe', { startBlock: BigInt(0), checkpoint: checkpointer });
    let taken = 0;
    try {
        for await (const event of stream) {
            if (taken++ < 3) {
                show('event', event);
                await checkpointer.checkpointChaincodeEvent(event);
            }
        }
    } catch (err) {
        if (!(err instanceof GatewayError) || err.code !== grpc.status.UNAVAILABLE) {
            throw err;
        }
        console.log('the server ended');
    } finally {
        stream.close();
    }
}

async function events(label, network, options, count) {
    const stream = await network.getChaincodeEvents('probe', options, { deadline: Date.now() + 30_000 });
    try {
        for await (const event of stream) {
            show(label, event);
            if (--count === 0) {
                return;
            }
        }
    } finally {
        stream.close();
    }
}

function show(label, event) {
    console.log(`${label}: ${event.blockNumber} ${event.transactionId} ${event.eventName} ${utf8.decode(event.payload)}`);
}

main().catch((err) => {
    console.error(err);
    process.exitCode = 1;
});
