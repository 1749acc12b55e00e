import com.amazonaws.services.dynamodbv2.local.embedded.DynamoDBEmbedded;
import com.google.protobuf.ByteString;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.RetrievalSpecificConfig;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.kpl.Messages;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/** Keylane through the Kinesis Client Library, which keeps its leases in a DynamoDB Local in this process. */
public final class Kcl {
    private static final String STREAM = "kcl-" + ProcessHandle.current().pid() + "-" + Instant.now().getEpochSecond();
    /** What every record begins with that the Kinesis Producer Library has packed. */
    private static final byte[] PACKED = {(byte) 0xF3, (byte) 0x89, (byte) 0x9A, (byte) 0xC2};
    private static final int KEYS = 10;

    private static final KinesisClient kinesis = KinesisClient.create();
    private static final KinesisAsyncClient async = KinesisAsyncClient.create();
    private static DynamoDbAsyncClient leases;
    private static int sent = 0;

    private Kcl() {}

    /** An application while it runs. */
    private static final class Application {
        final Map<String, List<Integer>> values = new HashMap<>();
        final List<String> events = new ArrayList<>();
        private final Scheduler scheduler;

        Application(String name, RetrievalSpecificConfig retrieval) {
            InitialPositionInStreamExtended begin = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
            ConfigsBuilder made = new ConfigsBuilder(new SingleStreamTracker(STREAM, begin), STREAM + name, async, leases,
                    CloudWatchAsyncClient.create(), "worker", () -> new Processor(this));
            // The library's own times are made for days: here nobody wants to wait.
            scheduler = new Scheduler(made.checkpointConfig(),
                    made.coordinatorConfig().parentShardPollIntervalMillis(200).shardConsumerDispatchPollIntervalMillis(100)
                            .schedulerInitializationBackoffTimeMillis(100),
                    made.leaseManagementConfig().failoverTimeMillis(1000).shardSyncIntervalMillis(500).leaseAssignmentIntervalMillis(300L)
                            .leasesRecoveryAuditorExecutionFrequencyMillis(500),
                    made.lifecycleConfig(), made.metricsConfig().metricsFactory(new NullMetricsFactory()), made.processorConfig(),
                    made.retrievalConfig().retrievalSpecificConfig(retrieval));
            Thread thread = new Thread(scheduler);
            thread.setDaemon(true);
            thread.start();
        }

        synchronized void take(ProcessRecordsInput input) {
            input.records().forEach(record -> values.computeIfAbsent(record.partitionKey(), key -> new ArrayList<>())
                    .add(Integer.parseInt(StandardCharsets.UTF_8.decode(record.data()).toString())));
        }

        synchronized void event(String what) {
            events.add(what);
        }

        synchronized int count() {
            return values.values().stream().mapToInt(List::size).sum();
        }

        /** Waits for the values from `first` on; each came once, those of a key in the order of sending. */
        void read(int first, int end) throws Exception {
            long late = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (count() < end - first && System.nanoTime() < late) {
                Thread.sleep(50);
            }
            synchronized (this) {
                for (int key = 0; key < KEYS; key++) {
                    int of = key;
                    List<Integer> wanted = IntStream.range(first, end).filter(n -> keyOf(n) == of).boxed().toList();
                    Cell.equal(values.getOrDefault("key-" + key, List.of()), wanted, "values of key " + key);
                }
            }
        }

        void stop() throws Exception {
            Cell.equal(scheduler.startGracefulShutdown().get(60, TimeUnit.SECONDS), true, "a graceful end");
        }
    }

    /** Of one shard. */
    private static final class Processor implements ShardRecordProcessor {
        private final Application application;
        private String shard;

        Processor(Application application) {
            this.application = application;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            application.event("begin " + shard);
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            application.take(input);
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            application.event("lost " + shard);
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            application.event("end " + shard);
            checkpoint(input.checkpointer());
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (InvalidStateException | ShutdownException cause) {
                application.event("no checkpoint of " + shard + ": " + cause);
            }
        }
    }

    /** Ten in a row have one key, so that they fit into one packed record. */
    private static int keyOf(int n) {
        return n / 10 % KEYS;
    }

    private static void put(int count) {
        for (int end = sent + count; sent < end; sent++) {
            int n = sent;
            kinesis.putRecord(r -> r.streamName(STREAM).partitionKey("key-" + keyOf(n)).data(SdkBytes.fromUtf8String("" + n)));
        }
    }

    /** Ten values in one record, as the Kinesis Producer Library packs them. */
    private static void putPacked(int count) throws Exception {
        for (int end = sent + count; sent < end; sent += 10) {
            String key = "key-" + keyOf(sent);
            Messages.AggregatedRecord.Builder packed = Messages.AggregatedRecord.newBuilder().addPartitionKeyTable(key);
            for (int n = sent; n < sent + 10; n++) {
                packed.addRecords(Messages.Record.newBuilder().setPartitionKeyIndex(0).setData(ByteString.copyFromUtf8("" + n)));
            }
            byte[] body = packed.build().toByteArray();
            ByteArrayOutputStream data = new ByteArrayOutputStream();
            data.write(PACKED);
            data.write(body);
            data.write(MessageDigest.getInstance("MD5").digest(body));
            kinesis.putRecord(r -> r.streamName(STREAM).partitionKey(key).data(SdkBytes.fromByteArray(data.toByteArray())));
        }
    }

    private static String shard(int n) {
        return String.format("shardId-%012d", n);
    }

    private static void reshard(Application application) throws Exception {
        kinesis.splitShard(r -> r.streamName(STREAM).shardToSplit(shard(0)).newStartingHashKey(BigInteger.ONE.shiftLeft(126).toString()));
        put(100);
        kinesis.mergeShards(r -> r.streamName(STREAM).shardToMerge(shard(3)).adjacentShardToMerge(shard(1)));
        put(100);
        application.read(0, sent);
        synchronized (application) {
            List<String> events = application.events;
            for (int[] pair : new int[][] {{0, 2}, {0, 3}, {1, 4}, {3, 4}}) {
                int end = events.indexOf("end " + shard(pair[0]));
                int begin = events.indexOf("begin " + shard(pair[1]));
                Cell.equal(end >= 0 && end < begin, true, "shard " + pair[0] + " ends before " + pair[1] + " begins: " + events);
            }
        }
    }

    private static RetrievalSpecificConfig polling() {
        return new PollingConfig(STREAM, async).idleTimeBetweenReadsInMillis(200);
    }

    /** Runs the cells; one that fails leaves the others something to fail at. */
    private static void run(Cell cell) throws Exception {
        kinesis.createStream(r -> r.streamName(STREAM).shardCount(2));
        kinesis.waiter().waitUntilStreamExists(r -> r.streamName(STREAM));
        put(100);
        // Both at once: the library waits ten seconds for its table.
        Application application = new Application("-app", polling());
        Application pushed = new Application("-pushed", new FanOutConfig(async).streamName(STREAM).applicationName(STREAM + "-pushed"));
        cell.is("put and get", () -> application.read(0, sent));
        cell.is("aggregated records", () -> {
            putPacked(200);
            application.read(0, sent);
        });
        cell.is("reshard", () -> reshard(application));
        cell.is("iterators", () -> {
            application.stop();
            int first = sent;
            put(50);
            Application again = new Application("-app", polling());
            again.read(first, sent);
            again.stop();
        });
        cell.is("subscribe", () -> {
            pushed.read(0, sent);
            pushed.stop();
        });
    }

    public static void main(String[] arguments) throws Exception {
        leases = DynamoDBEmbedded.create().dynamoDbAsyncClient();
        Properties pom = new Properties();
        try (InputStream file = Scheduler.class.getResourceAsStream("/META-INF/maven/software.amazon.kinesis/amazon-kinesis-client/pom.properties")) {
            pom.load(file);
        }
        Cell cell = new Cell("Kinesis Client Library", pom.getProperty("version"));
        run(cell);
        cell.lacks("streams");
        cell.lacks("errors");
        System.out.println("done");
        System.exit(0);
    }
}
