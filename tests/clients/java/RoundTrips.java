import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.RecordTooLargeException;

/** What KafkaProducer wrote, KafkaConsumer reads. */
final class RoundTrips {
    private final Cluster cluster;

    RoundTrips(Cluster cluster) {
        this.cluster = cluster;
    }

    void run() {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Check.check("round trip, " + codec, () -> roundTrip(codec));
        }
        for (String level : List.of("0", "1", "all")) {
            Check.check("acks=" + level, () -> acks(level));
        }
        Check.check("default settings (idempotent), many in flight", this::idempotent);
        Check.check("records without keys", this::withoutKeys);
        Check.check("large records", this::large);
        Check.check("too large a record", this::tooLarge);
        Check.check("auto-creation", this::autoCreate);
        Check.check("many partitions, two producers", this::manyPartitions);
        Check.check("a consumer at the tail", this::tail);
    }

    private void roundTrip(String codec) throws Exception {
        String name = Cluster.topic("rt-" + codec);
        cluster.create(name, 3);
        var sent = Cluster.records(name, 3000, 40);
        List<RecordMetadata> acked = cluster.produce(sent, Map.of("compression.type", codec));
        var got = cluster.readAll(name, 3, Map.of());
        Cluster.judge(sent, got);
        for (int i = 0; i < sent.size(); i++) {
            RecordMetadata at = acked.get(i);
            var row = got.get(at.partition()).get((int) at.offset());
            Check.equal(row.key(), sent.get(i).key(), "key at the acked offset of record " + i);
            Check.equal(row.value(), sent.get(i).value(), "value at the acked offset of record " + i);
        }
        Check.expect(got.values().stream().filter(rows -> !rows.isEmpty()).count() > 1, "keys spread");
    }

    private void acks(String level) throws Exception {
        String name = Cluster.topic("acks-" + level);
        cluster.create(name, 1);
        var sent = Cluster.records(name, 500, 10);
        // Idempotence needs acks=all; the default gives way to an explicit lower level.
        List<RecordMetadata> acked = cluster.produce(sent, Map.of("acks", level));
        for (int i = 0; i < sent.size(); i++) {
            Check.equal(acked.get(i).offset(), level.equals("0") ? -1L : i, "acked offset");
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            var places = Cluster.places(name, 1);
            Check.waitFor("the records", 10, () -> consumer.endOffsets(places).get(places.get(0)) == 500);
        }
        Cluster.judge(sent, cluster.readAll(name, 1, Map.of()));
    }

    private void idempotent() throws Exception {
        String name = Cluster.topic("idempotent");
        cluster.create(name, 3);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 40_000; i++) {
            sent.add(new ProducerRecord<>(name, ("key-" + i % 12).getBytes(), ("" + i).getBytes()));
        }
        // Small batches: five requests in flight all the time, each with several partitions.
        cluster.produce(sent, Map.of("batch.size", "300", "linger.ms", "0"));
        Cluster.judge(sent, cluster.readAll(name, 3, Map.of()));
        // And as it comes.
        String other = Cluster.topic("defaults");
        cluster.create(other, 3);
        var more = Cluster.records(other, 20_000, 100);
        cluster.produce(more, Map.of());
        Cluster.judge(more, cluster.readAll(other, 3, Map.of("isolation.level", "read_committed")));
    }

    private void withoutKeys() throws Exception {
        String name = Cluster.topic("keyless");
        cluster.create(name, 3);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 1000; i++) {
            sent.add(new ProducerRecord<>(name, i % 3, null, ("" + i).getBytes()));
        }
        cluster.produce(sent, Map.of());
        var got = cluster.readAll(name, 3, Map.of());
        for (int i = 0; i < 1000; i++) {
            var row = got.get(i % 3).get(i / 3);
            Check.expect(row.key() == null, "a key out of nowhere");
            Check.equal(row.value(), sent.get(i).value(), "value " + i);
            Check.equal(row.offset(), (long) (i / 3), "offset " + i);
        }
    }

    private void large() throws Exception {
        String name = Cluster.topic("large");
        cluster.create(name, 1);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            byte[] value = new byte[1_000_000];
            java.util.Arrays.fill(value, (byte) i);
            sent.add(new ProducerRecord<>(name, ("k" + i).getBytes(), value));
        }
        cluster.produce(sent, Map.of());
        // Limits below the size of a record: the first batch comes whole nevertheless.
        var small = Map.of("max.partition.fetch.bytes", "1000", "fetch.max.bytes", "1000");
        Cluster.judge(sent, cluster.readAll(name, 1, small));
    }

    private void tooLarge() throws Exception {
        String name = Cluster.topic("toolarge");
        cluster.create(name, 1, Map.of("max.message.bytes", "10000"));
        var record = new ProducerRecord<>(name, "k".getBytes(), new byte[50_000]);
        Check.raises(RecordTooLargeException.class, "a large record", () -> cluster.produce(List.of(record), Map.of()));
        var fits = List.of(new ProducerRecord<>(name, "k".getBytes(), new byte[5_000]));
        Check.equal(cluster.produce(fits, Map.of()).get(0).offset(), 0L, "offset of the first that fits");
    }

    private void autoCreate() throws Exception {
        String name = Cluster.topic("auto");
        var sent = Cluster.records(name, 10, 3);
        cluster.produce(sent, Map.of());
        int partitions = cluster.admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size();
        Cluster.judge(sent, cluster.readAll(name, partitions, Map.of()));
    }

    private void manyPartitions() throws Exception {
        String name = Cluster.topic("many");
        cluster.create(name, 60);
        var sent = Cluster.records(name, 6000, 600);
        var first = new ArrayList<ProducerRecord<byte[], byte[]>>();
        var second = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int i = 0; i < sent.size(); i++) {
            (i % 600 < 300 ? first : second).add(sent.get(i));
        }
        var failed = new java.util.concurrent.atomic.AtomicReference<Exception>();
        Thread other = new Thread(() -> {
            try {
                cluster.produce(second, Map.of());
            } catch (Exception cause) {
                failed.set(cause);
            }
        });
        other.start();
        cluster.produce(first, Map.of());
        other.join();
        if (failed.get() != null) {
            throw failed.get();
        }
        Cluster.judge(sent, cluster.readAll(name, 60, Map.of()));
    }

    private void tail() throws Exception {
        String name = Cluster.topic("tail");
        cluster.create(name, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of("fetch.max.wait.ms", "10000"))) {
            var places = Cluster.places(name, 1);
            consumer.assign(places);
            consumer.seekToBeginning(places);
            Check.expect(consumer.poll(Duration.ofMillis(1500)).isEmpty(), "a record in an empty partition");
            for (int i = 0; i < 3; i++) {
                cluster.produce(List.of(new ProducerRecord<>(name, ("" + i).getBytes())), Map.of());
                long start = System.nanoTime();
                var rows = consumer.poll(Duration.ofSeconds(8));
                Check.equal(rows.count(), 1, "records at " + i);
                Check.equal(rows.iterator().next().value(), ("" + i).getBytes(), "value");
                Check.expect(System.nanoTime() - start < 2_000_000_000L, "it took longer than 2 s");
            }
        }
    }
}
