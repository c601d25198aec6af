import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.hyperledger.fabric.client.ChaincodeEvent;
import org.hyperledger.fabric.client.CloseableIterator;
import org.hyperledger.fabric.client.Commit;
import org.hyperledger.fabric.client.CommitException;
import org.hyperledger.fabric.client.CommitStatusException;
import org.hyperledger.fabric.client.Contract;
import org.hyperledger.fabric.client.EndorseException;
import org.hyperledger.fabric.client.FileCheckpointer;
import org.hyperledger.fabric.client.Gateway;
import org.hyperledger.fabric.client.GatewayException;
import org.hyperledger.fabric.client.GatewayRuntimeException;
import org.hyperledger.fabric.client.Hash;
import org.hyperledger.fabric.client.Network;
import org.hyperledger.fabric.client.Proposal;
import org.hyperledger.fabric.client.SubmitException;
import org.hyperledger.fabric.client.SubmittedTransaction;
import org.hyperledger.fabric.client.Transaction;
import org.hyperledger.fabric.client.TransactionException;
import org.hyperledger.fabric.client.identity.Identities;
import org.hyperledger.fabric.client.identity.Identity;
import org.hyperledger.fabric.client.identity.Signer;
import org.hyperledger.fabric.client.identity.Signers;
import org.hyperledger.fabric.client.identity.X509Identity;
import org.hyperledger.fabric.protos.common.Block;
import org.hyperledger.fabric.protos.peer.FilteredBlock;

/**
 * A client of the Fabric Gateway, written as for Fabric, which says what it was answered.
 *
 * <p>Its arguments are before|after ADDRESS CHANNEL IDENTITY TLS CHECKPOINT. IDENTITY is an MSP directory of a user of Org1MSP; TLS a
 * directory with tls-ca.pem, client.pem and client.key; CHECKPOINT a file. "before" calls the contract asset in every way, and reads three
 * of the six events it causes, until the server ends. "after" goes on from the checkpoint.
 */
public final class Client {
    private final String channelName;
    private final Path checkpointFile;

    private Client(final String channelName, final Path checkpointFile) {
        this.channelName = channelName;
        this.checkpointFile = checkpointFile;
    }

    public static void main(final String[] args) throws Exception {
        Path identityDir = Path.of(args[3]);
        Path tlsDir = Path.of(args[4]);
        X509Certificate certificate = certificate(identityDir.resolve("signcerts/cert.pem"));
        Identity identity = new X509Identity("Org1MSP", certificate);
        Signer signer = Signers.newPrivateKeySigner(privateKey(identityDir.resolve("keystore/key.pem")));
        ManagedChannel channel = Grpc.newChannelBuilder(args[1], TlsChannelCredentials.newBuilder()
                .trustManager(tlsDir.resolve("tls-ca.pem").toFile())
                .keyManager(tlsDir.resolve("client.pem").toFile(), tlsDir.resolve("client.key").toFile())
                .build()).build();
        byte[] tlsHash = Hash.SHA256.apply(certificate(tlsDir.resolve("client.pem")).getEncoded());
        UnaryOperator<CallOptions> deadline = options -> options.withDeadlineAfter(30, TimeUnit.SECONDS);
        Gateway.Builder builder = Gateway.newInstance().identity(identity).connection(channel).hash(Hash.SHA256)
                .tlsClientCertificateHash(tlsHash)
                .evaluateOptions(deadline).endorseOptions(deadline).submitOptions(deadline).commitStatusOptions(deadline);
        Client client = new Client(args[2], Path.of(args[5]));
        try (Gateway offline = builder.connect(); Gateway gateway = builder.signer(signer).connect()) {
            Network network = gateway.getNetwork(args[2]);
            if (args[0].equals("before")) {
                Contract contract = network.getContract("asset");
                client.transactions(contract);
                client.signedElsewhere(offline, signer);
                client.blocks(network);
                client.failures(gateway, contract);
                client.causeEvents(network, List.of("e1", "e2", "e3", "e4", "e5", "e6"));
                client.eventsUntilTheEnd(network);
            } else {
                client.causeEvents(network, List.of("e7", "e8", "e9"));
                try (FileCheckpointer checkpointer = new FileCheckpointer(client.checkpointFile);
                        CloseableIterator<ChaincodeEvent> events = network.newChaincodeEventsRequest("probe")
                                .checkpoint(checkpointer).build().getEvents(deadline)) {
                    client.events("event", events, 6);
                }
                try (CloseableIterator<ChaincodeEvent> events = network.newChaincodeEventsRequest("probe")
                        .startBlock(0).build().getEvents(deadline)) {
                    client.events("ledger", events, 9);
                }
            }
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
    }

    private static X509Certificate certificate(final Path file) throws Exception {
        return Identities.readX509Certificate(Files.newBufferedReader(file));
    }

    private static PrivateKey privateKey(final Path file) throws Exception {
        return Identities.readPrivateKey(Files.newBufferedReader(file));
    }

    private void transactions(final Contract contract) throws Exception {
        System.out.println("submit: " + text(contract.submitTransaction("CreateAsset", "a1", "blue", "5", "tomoko", "300")));
        System.out.println("evaluate: " + text(contract.evaluateTransaction("ReadAsset", "a1")));

        Proposal proposal = contract.newProposal("TransferAsset").addArguments("a1", "maria").build();
        Transaction transaction = proposal.endorse();
        System.out.println("endorse: " + text(transaction.getResult()));
        var status = transaction.submitAsync().getStatus();
        System.out.printf("status: %b %s, of the transaction %b%n", status.isSuccessful(), status.getCode(),
                status.getTransactionId().equals(proposal.getTransactionId()));
    }

    /** Makes transactions where the key is not. */
    private void signedElsewhere(final Gateway gateway, final Signer signer) throws Exception {
        Contract contract = gateway.getNetwork(channelName).getContract("asset");
        Proposal query = contract.newProposal("AssetExists").addArguments("a1").build();
        Proposal signedQuery = gateway.newSignedProposal(query.getBytes(), signer.sign(query.getDigest()));
        System.out.println("off-line evaluate: " + text(signedQuery.evaluate()));

        Proposal proposal = contract.newProposal("TransferAsset").addArguments("a1", "jin").build();
        Transaction transaction = gateway.newSignedProposal(proposal.getBytes(), signer.sign(proposal.getDigest())).endorse();
        Transaction signed = gateway.newSignedTransaction(transaction.getBytes(), signer.sign(transaction.getDigest()));
        Commit commit = signed.submitAsync();
        var status = gateway.newSignedCommit(commit.getBytes(), signer.sign(commit.getDigest())).getStatus();
        System.out.printf("off-line submit: %s, %s%n", text(signed.getResult()), status.getCode());
    }

    private void blocks(final Network network) {
        try (CloseableIterator<Block> whole = network.newBlockEventsRequest().startBlock(0).build().getEvents();
                CloseableIterator<FilteredBlock> filtered = network.newFilteredBlockEventsRequest().startBlock(1).build().getEvents()) {
            System.out.printf("blocks: %d %d%n", whole.next().getHeader().getNumber(), filtered.next().getNumber());
        }
    }

    private void failures(final Gateway gateway, final Contract contract) throws Exception {
        try {
            contract.evaluateTransaction("ReadAsset", "nothing");
        } catch (GatewayException e) {
            told("evaluate", e, "");
        }
        Proposal wrong = contract.newProposal("ReadAsset").addArguments("nothing").build();
        try {
            wrong.endorse();
        } catch (EndorseException e) {
            told("endorse", e, wrong.getTransactionId());
        }
        Transaction first = contract.newProposal("TransferAsset").addArguments("a1", "first").build().endorse();
        Transaction late = contract.newProposal("TransferAsset").addArguments("a1", "second").build().endorse();
        Signer stranger = Signers.newPrivateKeySigner(newKey());
        try {
            gateway.newSignedTransaction(first.getBytes(), stranger.sign(first.getDigest())).submitAsync();
        } catch (SubmitException e) {
            told("submit", e, first.getTransactionId());
        }
        Commit commit = first.submitAsync();
        try {
            gateway.newSignedCommit(commit.getBytes(), stranger.sign(commit.getDigest())).getStatus();
        } catch (CommitStatusException e) {
            told("commit status", e, first.getTransactionId());
        }
        commit.getStatus();
        var outcome = late.submitAsync().getStatus(); // what it read has changed
        System.out.printf("late: %b %s%n", outcome.isSuccessful(), outcome.getCode());
        try {
            contract.newProposal("TransferAsset").addArguments("a1", "third")
                    .setEndorsingOrganizations("Org1MSP") // which alone do not satisfy the policy
                    .build().endorse().submit();
        } catch (CommitException e) {
            System.out.printf("commit error: %s%n", e.getCode());
        }
    }

    private static PrivateKey newKey() throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1"));
        return generator.generateKeyPair().getPrivate();
    }

    /** Says what an error tells. */
    private static void told(final String call, final GatewayException e, final String transactionId) {
        String details = e.getDetails().stream().map(detail -> detail.getMspId() + ": " + detail.getMessage()).collect(Collectors.joining("; "));
        String of = e instanceof TransactionException
                ? ", of the transaction " + ((TransactionException) e).getTransactionId().equals(transactionId) : "";
        System.out.printf("%s error: %d %s [%s]%s%n", call, e.getStatus().getCode().value(), e.getStatus().getDescription(), details, of);
    }

    /** Submits transactions one right after the other, so that some are in one block. */
    private void causeEvents(final Network network, final List<String> names) throws Exception {
        Contract contract = network.getContract("probe");
        List<SubmittedTransaction> commits = names.parallelStream().map(name -> {
            String operations = "[{\"op\":\"SetEvent\",\"name\":\"" + name + "\",\"payload\":\"payload of " + name + "\"}]";
            try {
                return contract.newProposal("run").addArguments(operations).build().endorse().submitAsync();
            } catch (GatewayException e) {
                throw new IllegalStateException(e);
            }
        }).collect(Collectors.toList());
        for (SubmittedTransaction commit : commits) {
            var status = commit.getStatus();
            if (!status.isSuccessful()) {
                throw new IllegalStateException("transaction " + status.getTransactionId() + " has code " + status.getCode());
            }
        }
    }

    /** Takes three events, and leaves the others. */
    private void eventsUntilTheEnd(final Network network) throws IOException {
        try (FileCheckpointer checkpointer = new FileCheckpointer(checkpointFile);
                CloseableIterator<ChaincodeEvent> events = network.newChaincodeEventsRequest("probe")
                        .startBlock(0).checkpoint(checkpointer).build().getEvents()) {
            for (int taken = 0; events.hasNext(); taken++) {
                ChaincodeEvent event = events.next();
                if (taken < 3) {
                    show("event", event);
                    checkpointer.checkpointChaincodeEvent(event);
                }
            }
        } catch (GatewayRuntimeException e) {
            if (e.getStatus().getCode() != Status.Code.UNAVAILABLE) {
                throw e;
            }
            System.out.println("the server ended");
        }
    }

    private void events(final String label, final CloseableIterator<ChaincodeEvent> events, final int count) {
        for (int i = 0; i < count; i++) {
            show(label, events.next());
        }
    }

    private static void show(final String label, final ChaincodeEvent event) {
        System.out.printf("%s: %d %s %s %s%n", label, event.getBlockNumber(), event.getTransactionId(), event.getEventName(), text(event.getPayload()));
    }

    private static String text(final byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
