import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;

/**
 * What depends on the time of records: lookup by time and deletion by age, for batches whose header states another
 * highest time than that of their records; topics whose records carry the broker's time.
 */
final class TimeChecks {
    private static final long EPOCH_MS = Cluster.EPOCH_MS;
    private static final long HOUR_MS = 3_600_000;
    private final Cluster cluster;
    /** The program that produces with sarama 1.43 ({@code sarama BOOTSTRAP produce TOPIC TIME...}). */
    private final String sarama;

    TimeChecks(Cluster cluster, String sarama) {
        this.cluster = cluster;
        this.sarama = sarama;
    }

    void run() {
        Check.check("sarama 1.43 produces, offsetsForTimes finds its records", this::saramaByTime);
        Check.check("sarama 1.43 produces, listOffsets finds the highest time", this::saramaMaxTimestamp);
        for (long stated : new long[] {-1, 0, 1000, EPOCH_MS - HOUR_MS}) {
            Check.check("offsetsForTimes, the header says " + name(stated), () -> byTime(stated));
        }
        Check.check("retention.ms deletes what is old, keeps what is young, whatever headers say", this::retention);
        for (String codec : List.of("none", "zstd")) {
            Check.check("LogAppendTime, " + codec, () -> logAppendTime(codec));
        }
    }

    private static String name(long stated) {
        return stated < EPOCH_MS - HOUR_MS ? "" + stated : "an hour too little";
    }

    private void saramaProduces(String topic, long... times) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(sarama, cluster.bootstrap, "produce", topic));
        for (long time : times) {
            command.add("" + time);
        }
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes());
        Check.expect(process.waitFor(30, TimeUnit.SECONDS), "sarama does not end");
        Check.equal(process.exitValue(), 0, "exit code of sarama (" + said.strip() + ")");
    }

    private void saramaByTime() throws Exception {
        String name = Cluster.topic("sarama-times");
        cluster.create(name, 1);
        saramaProduces(name, EPOCH_MS, EPOCH_MS + 1000, EPOCH_MS + 2000);
        findsByTime(name);
    }

    private void saramaMaxTimestamp() throws Exception {
        String name = Cluster.topic("sarama-highest");
        cluster.create(name, 1);
        saramaProduces(name, EPOCH_MS, EPOCH_MS + 5000, EPOCH_MS + 2000);
        TopicPartition place = new TopicPartition(name, 0);
        var newest = cluster.admin.listOffsets(Map.of(place, OffsetSpec.maxTimestamp())).partitionResult(place).get();
        Check.equal(newest.timestamp(), EPOCH_MS + 5000, "the highest time");
        Check.equal(newest.offset(), 1L, "its offset");
    }

    private void byTime(long stated) throws Exception {
        String name = Cluster.topic("times" + stated);
        cluster.create(name, 1);
        var batch = new RawBatch().maxTimestamp(stated);
        for (int i = 0; i < 3; i++) {
            batch.record(EPOCH_MS + i * 1000L, "key", "value " + i);
        }
        Check.equal(RawProduce.send(cluster.bootstrap, name, batch.build()).error(), Errors.NONE, "error");
        findsByTime(name);
    }

    /** Offsets 0 to 2 have the times 0, 1 and 2 s after the epoch of this run; later ones get offset 3. */
    private void findsByTime(String name) throws Exception {
        var later = List.of(new ProducerRecord<byte[], byte[]>(name, 0, EPOCH_MS + 60_000, null, "later".getBytes()));
        cluster.produce(later, Map.of());
        TopicPartition place = new TopicPartition(name, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            var wanted = Map.of(0L, 0L, EPOCH_MS, 0L, EPOCH_MS + 1, 1L, EPOCH_MS + 2000, 2L, EPOCH_MS + 2001, 3L);
            for (var each : wanted.entrySet()) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(place, each.getKey())).get(place);
                String at = "offset at epoch + " + (each.getKey() - EPOCH_MS) + " ms";
                Check.expect(found != null, at + ": none, wanted " + each.getValue());
                Check.equal(found.offset(), each.getValue(), at);
                long time = each.getValue() == 3 ? 60_000 : each.getValue() * 1000;
                Check.equal(found.timestamp() - EPOCH_MS, time, "time found for " + at);
            }
        }
    }

    /**
     * Two topics keep records for ten minutes. Old records with headers of every kind must go; young ones with
     * headers of every kind must stay. The old ones are produced anew three times, each time after the last had gone:
     * so the broker has looked at its topics at least three times before the young ones are counted.
     */
    private void retention() throws Exception {
        long[] stated = {-1, 0, 1000, Long.MAX_VALUE};
        List<TopicPartition> young = new ArrayList<>();
        List<TopicPartition> old = new ArrayList<>();
        long now = System.currentTimeMillis();
        for (long each : stated) {
            String suffix = each == Long.MAX_VALUE ? "max" : "" + each;
            young.add(new TopicPartition(Cluster.topic("young" + suffix), 0));
            old.add(new TopicPartition(Cluster.topic("old" + suffix), 0));
        }
        for (int i = 0; i < stated.length; i++) {
            for (TopicPartition place : List.of(young.get(i), old.get(i))) {
                cluster.create(place.topic(), 1, Map.of("retention.ms", "600000"));
            }
            aged(young.get(i), now, stated[i]);
        }
        var starts = Map.<TopicPartition, Long>of();
        for (int round = 1; round <= 3; round++) {
            for (int i = 0; i < stated.length; i++) {
                aged(old.get(i), now - HOUR_MS, stated[i]);
            }
            long end = System.nanoTime() + 20_000_000_000L;
            try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
                do {
                    Thread.sleep(200);
                    starts = consumer.beginningOffsets(old);
                } while (sum(starts) < (long) old.size() * round && System.nanoTime() < end);
                var kept = consumer.beginningOffsets(young);
                String lost = "";
                for (int i = 0; i < stated.length; i++) {
                    lost += kept.get(young.get(i)) > 0 ? " young, header " + stated[i] + ": deleted;" : "";
                    lost += starts.get(old.get(i)) < round ? " old, header " + stated[i] + ": never deleted;" : "";
                }
                Check.equal(lost, "", "after round " + round);
            }
        }
        for (TopicPartition place : young) {
            Check.equal(cluster.readAll(place.topic(), 1, Map.of()).get(0).size(), 1, "records of " + place);
        }
    }

    private static long sum(Map<TopicPartition, Long> offsets) {
        return offsets.values().stream().mapToLong(Long::longValue).sum();
    }

    private void aged(TopicPartition place, long time, long stated) throws Exception {
        byte[] batch = new RawBatch().record(time, "key", "value").maxTimestamp(stated).build();
        Check.equal(RawProduce.send(cluster.bootstrap, place.topic(), batch).error(), Errors.NONE, "header " + stated);
    }

    private void logAppendTime(String codec) throws Exception {
        String name = Cluster.topic("append-time-" + codec);
        cluster.create(name, 1, Map.of("message.timestamp.type", "LogAppendTime"));
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            sent.add(new ProducerRecord<>(name, 0, EPOCH_MS + i, null, ("value " + i).getBytes()));
        }
        long before = System.currentTimeMillis();
        List<RecordMetadata> acked = cluster.produce(sent, Map.of("linger.ms", "200", "compression.type", codec));
        long after = System.currentTimeMillis();
        var rows = cluster.readAll(name, 1, Map.of()).get(0);
        Check.equal(rows.size(), 10, "records");
        for (int i = 0; i < 10; i++) {
            long told = acked.get(i).timestamp();
            Check.expect(before <= told && told <= after, "time of RecordMetadata: " + told + ", now " + after);
            Check.equal(rows.get(i).timestampType(), TimestampType.LOG_APPEND_TIME, "type of record " + i);
            Check.equal(rows.get(i).timestamp(), told, "time of record " + i);
            Check.equal(rows.get(i).value(), sent.get(i).value(), "value");
        }
        TopicPartition place = new TopicPartition(name, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(place, before)).get(place);
            Check.equal(found == null ? null : found.offset(), 0L, "offset by time");
            Check.equal(consumer.offsetsForTimes(Map.of(place, after + 1)).get(place), null, "after the last");
        }
    }
}
