import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** After DeleteRecords into the middle of a batch no lookup by time names an offset that is gone. */
final class TrimChecks {
    private static final long EPOCH_MS = Cluster.EPOCH_MS;
    private final Cluster cluster;

    TrimChecks(Cluster cluster) {
        this.cluster = cluster;
    }

    void run() {
        for (String codec : List.of("none", "lz4")) {
            for (long start : new long[] {1, 5, 9}) {
                Check.check("offsetsForTimes, seek, poll after deleteRecords to " + start + ", " + codec,
                        () -> trimmed(codec, start));
            }
        }
    }

    private void trimmed(String codec, long start) throws Exception {
        String name = Cluster.topic("trim-" + codec + start);
        cluster.create(name, 1);
        TopicPartition place = new TopicPartition(name, 0);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            // The highest time is that of a record in the middle.
            long time = i == 3 ? EPOCH_MS + 30_000 : EPOCH_MS + i * 1000L;
            sent.add(new ProducerRecord<>(name, 0, time, null, ("" + i).getBytes()));
        }
        cluster.produce(sent, Map.of("linger.ms", "500", "compression.type", codec));
        cluster.admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(start))).all().get();
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of("auto.offset.reset", "none"))) {
            Check.equal(consumer.beginningOffsets(List.of(place)).get(place), start, "beginning");
            consumer.assign(List.of(place));
            for (long time = EPOCH_MS; time < EPOCH_MS + 10_000; time += 1000) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(place, time)).get(place);
                Check.expect(found != null, "an offset for +" + (time - EPOCH_MS));
                Check.expect(found.offset() >= start, "offset " + found.offset() + " for +" + (time - EPOCH_MS)
                        + " ms is below the beginning " + start);
                consumer.seek(place, found.offset());
                var rows = consumer.poll(Duration.ofSeconds(10));
                Check.expect(!rows.isEmpty(), "no record at offset " + found.offset());
                var first = rows.iterator().next();
                Check.equal(first.offset(), found.offset(), "offset of the first record");
                Check.equal(first.timestamp(), found.timestamp(), "time of the first record");
            }
        }
        if (start > 3) {
            // Apache Kafka may still name the deleted record here; a consumer of it would be reset.
            return;
        }
        var newest = cluster.admin.listOffsets(Map.of(place, OffsetSpec.maxTimestamp())).partitionResult(place).get();
        Check.equal(newest.offset(), 3L, "offset of the highest time");
    }
}
