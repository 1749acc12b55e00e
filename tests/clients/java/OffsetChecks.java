import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Offsets by position and by time. */
final class OffsetChecks {
    private static final long EPOCH_MS = Cluster.EPOCH_MS;
    private final Cluster cluster;

    OffsetChecks(Cluster cluster) {
        this.cluster = cluster;
    }

    void run() {
        Check.check("beginningOffsets, endOffsets, offsetsForTimes", this::offsets);
        Check.check("seek into the middle of a batch", this::seek);
        Check.check("offset out of range", this::outOfRange);
        Check.check("auto.offset.reset", this::reset);
    }

    private String hundred(String label) throws Exception {
        String name = Cluster.topic(label);
        cluster.create(name, 2);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            sent.add(new ProducerRecord<>(name, 1, EPOCH_MS + i * 1000L, null, ("" + i).getBytes()));
        }
        cluster.produce(sent, Map.of("linger.ms", "100"));
        return name;
    }

    private void offsets() throws Exception {
        String name = hundred("offsets");
        List<TopicPartition> places = Cluster.places(name, 2);
        TopicPartition empty = places.get(0);
        TopicPartition full = places.get(1);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            Check.equal(consumer.beginningOffsets(places), Map.of(empty, 0L, full, 0L), "beginnings");
            Check.equal(consumer.endOffsets(places), Map.of(empty, 0L, full, 100L), "ends");
            Map<Long, Long> wanted = new HashMap<>(
                    Map.of(0L, 0L, EPOCH_MS, 0L, EPOCH_MS + 1, 1L, EPOCH_MS + 41_000, 41L, EPOCH_MS + 98_001, 99L));
            for (var each : wanted.entrySet()) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(full, each.getKey())).get(full);
                Check.expect(found != null, "an offset at " + each.getKey());
                Check.equal(found.offset(), each.getValue(), "offset at " + each.getKey());
                Check.equal(found.timestamp(), EPOCH_MS + each.getValue() * 1000, "time at " + each.getKey());
            }
            var beyond = consumer.offsetsForTimes(Map.of(full, EPOCH_MS + 99_001, empty, 0L));
            Check.equal(beyond.get(full), null, "after the last");
            Check.equal(beyond.get(empty), null, "in the empty partition");
        }
        var newest = cluster.admin.listOffsets(Map.of(full, OffsetSpec.maxTimestamp())).partitionResult(full).get();
        Check.equal(newest.offset(), 99L, "offset of the highest time");
        Check.equal(newest.timestamp(), EPOCH_MS + 99_000, "the highest time");
    }

    private void seek() throws Exception {
        String name = hundred("seek");
        TopicPartition place = new TopicPartition(name, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            consumer.assign(List.of(place));
            for (long start : new long[] {57, 3, 99, 0}) {
                consumer.seek(place, start);
                long next = start;
                long end = System.nanoTime() + 20_000_000_000L;
                while (next < 100) {
                    Check.expect(System.nanoTime() < end, "not read from " + start + " within 20 s");
                    for (var row : consumer.poll(Duration.ofMillis(500))) {
                        Check.equal(row.offset(), next, "offset");
                        Check.equal(row.value(), ("" + next).getBytes(), "value");
                        next++;
                    }
                }
            }
        }
    }

    private void outOfRange() throws Exception {
        String name = hundred("range");
        TopicPartition place = new TopicPartition(name, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(place));
            consumer.seek(place, 5000);
            var error = Check.raises(OffsetOutOfRangeException.class, "beyond the end", () -> {
                for (int i = 0; i < 20; i++) {
                    consumer.poll(Duration.ofMillis(500));
                }
            });
            Check.equal(error.offsetOutOfRangePartitions(), Map.of(place, 5000L), "partitions");
        }
    }

    private void reset() throws Exception {
        String name = hundred("reset");
        TopicPartition place = new TopicPartition(name, 1);
        for (var each : Map.of("earliest", 0L, "latest", 100L).entrySet()) {
            try (KafkaConsumer<byte[], byte[]> consumer =
                    cluster.consumer(Map.of("auto.offset.reset", each.getKey()))) {
                consumer.assign(List.of(place));
                Check.equal(consumer.position(place), each.getValue(), each.getKey());
            }
        }
    }
}
