import java.math.BigInteger;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.reactivestreams.Subscriber;
import org.reactivestreams.Subscription;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.util.VersionInfo;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;

/** Keylane through the AWS SDK for Java, told where the server is by AWS_ENDPOINT_URL alone. It speaks CBOR. */
public final class Sdk {
    private static final String FIRST = "shardId-000000000000";
    private static final String RUN = ProcessHandle.current().pid() + "-" + Instant.now().getEpochSecond();
    // One try each: an error that is hidden by a second try is an error.
    private static final KinesisClient kinesis =
            KinesisClient.builder().overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry())).build();

    private Sdk() {}

    private static String stream(String name, int shards) {
        String full = "java-" + name + "-" + RUN;
        kinesis.createStream(r -> r.streamName(full).shardCount(shards));
        kinesis.waiter().waitUntilStreamExists(r -> r.streamName(full));
        return full;
    }

    private static String put(String name, String key) {
        return kinesis.putRecord(r -> r.streamName(name).partitionKey(key).data(SdkBytes.fromUtf8String("a record"))).sequenceNumber();
    }

    /** All records of a shard from an iterator on, and the last answer. */
    private record Read(List<software.amazon.awssdk.services.kinesis.model.Record> records, GetRecordsResponse last) {
        List<String> numbers() {
            return records.stream().map(record -> record.sequenceNumber()).toList();
        }
    }

    private static Read read(String name, String shard, int limit, Consumer<GetShardIteratorRequest.Builder> from) {
        String at = kinesis.getShardIterator(r -> from.accept(r.streamName(name).shardId(shard))).shardIterator();
        List<software.amazon.awssdk.services.kinesis.model.Record> records = new ArrayList<>();
        while (true) {
            String here = at;
            GetRecordsResponse answer = kinesis.getRecords(r -> r.shardIterator(here).limit(limit));
            records.addAll(answer.records());
            at = answer.nextShardIterator();
            if (at == null || (answer.records().isEmpty() && answer.millisBehindLatest() == 0)) {
                return new Read(records, answer);
            }
        }
    }

    private static void streams() {
        String name = stream("life", 3);
        StreamDescription told = kinesis.describeStream(r -> r.streamName(name)).streamDescription();
        String third = BigInteger.ONE.shiftLeft(128).divide(BigInteger.valueOf(3)).toString();
        Cell.equal(told.shards().get(1).hashKeyRange().startingHashKey(), third, "a hash range");
        Duration age = Duration.between(told.streamCreationTimestamp(), Instant.now());
        Cell.equal(age.abs().compareTo(Duration.ofMinutes(1)) < 0, true, "creation time");
        List<String> names = kinesis.listStreamsPaginator(r -> r.limit(1)).streamNames().stream().toList();
        Cell.equal(names.contains(name), true, "the stream in all pages");
        kinesis.addTagsToStream(r -> r.streamName(name).tags(Map.of("a", "b")));
        Tag tag = kinesis.listTagsForStream(r -> r.streamName(name)).tags().get(0);
        Cell.equal(List.of(tag.key(), tag.value()), List.of("a", "b"), "tags");
        kinesis.increaseStreamRetentionPeriod(r -> r.streamName(name).retentionPeriodHours(48));
        StreamDescriptionSummary summary = kinesis.describeStreamSummary(r -> r.streamARN(told.streamARN())).streamDescriptionSummary();
        Cell.equal(List.of(summary.retentionPeriodHours(), summary.openShardCount()), List.of(48, 3), "summary");
        kinesis.deleteStream(r -> r.streamName(name));
        kinesis.waiter().waitUntilStreamNotExists(r -> r.streamName(name));
    }

    private static void putAndGet() {
        String name = stream("records", 4);
        List<PutRecordsRequestEntry> sent = IntStream.range(0, 300).mapToObj(n -> PutRecordsRequestEntry.builder()
                .partitionKey("key-" + n % 10).data(SdkBytes.fromUtf8String(("record " + n + " ").repeat(n % 50))).build()).toList();
        PutRecordsResponse answer = kinesis.putRecords(r -> r.streamName(name).records(sent));
        Cell.equal(answer.failedRecordCount(), 0, "failed");
        Map<String, List<String>> wanted = new HashMap<>();
        for (int n = 0; n < sent.size(); n++) {
            PutRecordsResultEntry put = answer.records().get(n);
            String row = put.sequenceNumber() + sent.get(n).partitionKey() + sent.get(n).data().asUtf8String();
            wanted.computeIfAbsent(put.shardId(), key -> new ArrayList<>()).add(row);
        }
        for (Shard shard : kinesis.listShards(r -> r.streamName(name)).shards()) {
            Read read = read(name, shard.shardId(), 37, r -> r.shardIteratorType(ShardIteratorType.TRIM_HORIZON));
            List<String> got = read.records().stream().map(r -> r.sequenceNumber() + r.partitionKey() + r.data().asUtf8String()).toList();
            Cell.equal(got, wanted.getOrDefault(shard.shardId(), List.of()), "records of " + shard.shardId());
        }
    }

    private static void iterators() throws InterruptedException {
        String name = stream("iterators", 1);
        List<String> numbers = new ArrayList<>();
        for (int n = 0; n < 10; n++) {
            numbers.add(put(name, "k"));
            Thread.sleep(2);
        }
        Read all = read(name, FIRST, 3, r -> r.shardIteratorType(ShardIteratorType.TRIM_HORIZON));
        Cell.equal(all.numbers(), numbers, "TRIM_HORIZON");
        Read latest = read(name, FIRST, 3, r -> r.shardIteratorType(ShardIteratorType.LATEST));
        Cell.equal(latest.numbers(), List.of(), "LATEST");
        Read at = read(name, FIRST, 3, r -> r.shardIteratorType(ShardIteratorType.AT_SEQUENCE_NUMBER).startingSequenceNumber(numbers.get(4)));
        Cell.equal(at.numbers(), numbers.subList(4, 10), "AT_SEQUENCE_NUMBER");
        Read after = read(name, FIRST, 3, r -> r.shardIteratorType(ShardIteratorType.AFTER_SEQUENCE_NUMBER).startingSequenceNumber(numbers.get(4)));
        Cell.equal(after.numbers(), numbers.subList(5, 10), "AFTER_SEQUENCE_NUMBER");
        Instant time = all.records().get(6).approximateArrivalTimestamp();
        Read since = read(name, FIRST, 3, r -> r.shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(time));
        Cell.equal(since.numbers(), numbers.subList(6, 10), "AT_TIMESTAMP");
    }

    private static void reshard() {
        String name = stream("reshard", 1);
        put(name, "k");
        kinesis.splitShard(r -> r.streamName(name).shardToSplit(FIRST).newStartingHashKey(BigInteger.ONE.shiftLeft(127).toString()));
        put(name, "k");
        Read parent = read(name, FIRST, 1000, r -> r.shardIteratorType(ShardIteratorType.TRIM_HORIZON));
        Cell.equal(parent.records().size(), 1, "the parent's records");
        Cell.equal(parent.last().nextShardIterator(), null, "the parent's end");
        List<String> children = parent.last().childShards().stream().map(ChildShard::shardId).toList();
        Cell.equal(children, List.of("shardId-000000000001", "shardId-000000000002"), "children");
        Cell.equal(parent.last().childShards().get(0).parentShards(), List.of(FIRST), "parents");
        kinesis.mergeShards(r -> r.streamName(name).shardToMerge(children.get(0)).adjacentShardToMerge(children.get(1)));
        List<Shard> open = kinesis.listShards(r -> r.streamName(name).shardFilter(f -> f.type(ShardFilterType.AT_LATEST))).shards();
        Cell.equal(open.stream().map(s -> List.of(s.parentShardId(), s.adjacentParentShardId())).toList(), List.of(children), "parents of the merged shard");
    }

    /** A subscription that ends itself after twenty records. */
    private static final class Twenty implements Subscriber<SubscribeToShardEventStream>, SubscribeToShardResponseHandler.Visitor {
        final List<String> keys = new ArrayList<>();
        final CompletableFuture<String> next = new CompletableFuture<>();
        private Subscription subscription;

        @Override
        public void onSubscribe(Subscription given) {
            subscription = given;
            given.request(1);
        }

        @Override
        public void onNext(SubscribeToShardEventStream event) {
            event.accept(this);
            if (keys.size() < 20) {
                subscription.request(1);
            } else {
                subscription.cancel();
            }
        }

        @Override
        public void visit(SubscribeToShardEvent event) {
            event.records().forEach(record -> keys.add(record.partitionKey()));
            if (keys.size() >= 20) {
                next.complete(event.continuationSequenceNumber());
            }
        }

        @Override
        public void onError(Throwable cause) {
            next.completeExceptionally(cause);
        }

        @Override
        public void onComplete() {
            next.completeExceptionally(new AssertionError("ended after " + keys.size() + " records"));
        }
    }

    /** Tries again for as long as the subscription before may live. */
    private static String subscribed(KinesisAsyncClient client, String consumer, StartingPosition from, List<String> got) throws Exception {
        long late = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
        while (true) {
            Twenty twenty = new Twenty();
            CompletableFuture<Void> call = client.subscribeToShard(r -> r.consumerARN(consumer).shardId(FIRST).startingPosition(from),
                    SubscribeToShardResponseHandler.builder().onError(twenty::onError).onEventStream(events -> events.subscribe(twenty)).build());
            try {
                String next = twenty.next.get(20, TimeUnit.SECONDS);
                call.cancel(true);
                got.addAll(twenty.keys);
                return next;
            } catch (ExecutionException cause) {
                if (!(cause.getCause() instanceof ResourceInUseException) || System.nanoTime() > late) {
                    throw cause;
                }
                Thread.sleep(200);
            }
        }
    }

    private static void subscribe() throws Exception {
        String name = stream("pushed", 1);
        String arn = kinesis.describeStreamSummary(r -> r.streamName(name)).streamDescriptionSummary().streamARN();
        String consumer = kinesis.registerStreamConsumer(r -> r.streamARN(arn).consumerName("app")).consumer().consumerARN();
        List<String> sent = new ArrayList<>();
        List<String> got = new ArrayList<>();
        // Twenty before the first subscription, twenty while the second lives.
        for (int n = 0; n < 20; n++) {
            sent.add(String.valueOf(n));
            put(name, String.valueOf(n));
        }
        // Over HTTP/2.
        try (KinesisAsyncClient client = KinesisAsyncClient.create()) {
            StartingPosition begin = StartingPosition.builder().type(ShardIteratorType.TRIM_HORIZON).build();
            String next = subscribed(client, consumer, begin, got);
            CompletableFuture<Void> later = CompletableFuture.runAsync(() -> {
                for (int n = 20; n < 40; n++) {
                    sent.add(String.valueOf(n));
                    put(name, String.valueOf(n));
                }
            }, CompletableFuture.delayedExecutor(300, TimeUnit.MILLISECONDS));
            StartingPosition after = StartingPosition.builder().type(ShardIteratorType.AFTER_SEQUENCE_NUMBER).sequenceNumber(next).build();
            subscribed(client, consumer, after, got);
            later.get();
        }
        Cell.equal(got, sent, "records of two subscriptions");
        kinesis.deregisterStreamConsumer(r -> r.consumerARN(consumer));
        Cell.equal(kinesis.listStreamConsumers(r -> r.streamARN(arn)).consumers(), List.of(), "consumers");
    }

    private static String refused(Class<? extends KinesisException> kind, Runnable action) {
        try {
            action.run();
        } catch (KinesisException cause) {
            Cell.equal(cause.getClass(), kind, cause.getMessage());
            Cell.equal(List.of(cause.statusCode(), cause.requestId().length()), List.of(400, 36), kind.getSimpleName());
            return cause.awsErrorDetails().errorMessage();
        }
        throw new AssertionError(kind.getSimpleName() + " expected");
    }

    private static void errors() {
        String name = stream("errors", 1);
        String told = refused(ResourceNotFoundException.class, () -> kinesis.describeStream(r -> r.streamName("nobody")));
        Cell.equal(told, "Stream nobody under account 123456789012 not found.", "text");
        refused(ResourceInUseException.class, () -> kinesis.createStream(r -> r.streamName(name).shardCount(1)));
        refused(InvalidArgumentException.class, () -> kinesis.getRecords(r -> r.shardIterator("AAAA")));
        refused(ValidationException.class, () -> kinesis.putRecord(
                r -> r.streamName(name).partitionKey("k").data(SdkBytes.fromByteArray(new byte[1])).explicitHashKey("abc")));
    }

    public static void main(String[] arguments) {
        Cell cell = new Cell("AWS SDK for Java", VersionInfo.SDK_VERSION);
        cell.is("streams", Sdk::streams);
        cell.is("put and get", Sdk::putAndGet);
        cell.is("iterators", Sdk::iterators);
        cell.is("reshard", Sdk::reshard);
        cell.is("subscribe", Sdk::subscribe);
        cell.is("errors", Sdk::errors);
        cell.lacks("aggregated records");
        System.out.println("done");
        System.exit(0);
    }
}
