import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** A consumer that is far behind in many partitions gets on evenly in all of them, whatever core each lives on. */
final class FetchChecks {
    private static final int PARTITIONS = 24;
    private static final int RECORD_BYTES = 16 << 10;
    private static final int RECORDS = (7 << 20) / RECORD_BYTES;
    private final Cluster cluster;
    private String name;

    FetchChecks(Cluster cluster) {
        this.cluster = cluster;
    }

    void run() {
        Check.check("a backlog of 24 times 7 MiB", this::backlog);
        Check.check("even progress, default settings", () -> even(Map.of()));
        Check.check("even progress, small answers", () -> even(Map.of("fetch.max.bytes", "" + (4 << 20))));
        Check.check("the topic goes", () -> cluster.admin.deleteTopics(List.of(name)).all().get());
    }

    private void backlog() throws Exception {
        name = Cluster.topic("backlog");
        cluster.create(name, PARTITIONS);
        byte[] value = new byte[RECORD_BYTES];
        new java.util.Random(7).nextBytes(value);
        var waiting = new ArrayList<java.util.concurrent.Future<?>>();
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of("batch.size", "131072"))) {
            for (int i = 0; i < RECORDS; i++) {
                for (int p = 0; p < PARTITIONS; p++) {
                    waiting.add(producer.send(new ProducerRecord<>(name, p, null, value)));
                }
            }
        }
        for (var each : waiting) {
            each.get();
        }
    }

    /**
     * When the last partition gives its first record, no other may have given more than half of its own; when it has
     * given a quarter, none more than three quarters.
     */
    private void even(Map<String, String> options) {
        int[] read = new int[PARTITIONS];
        int atFirst = -1;
        int atQuarter = -1;
        var places = Cluster.places(name, PARTITIONS);
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(options)) {
            consumer.assign(places);
            consumer.seekToBeginning(places);
            long end = System.nanoTime() + 60_000_000_000L;
            while (Arrays.stream(read).sum() < RECORDS * PARTITIONS) {
                Check.expect(System.nanoTime() < end, "not read within 60 s: " + Arrays.toString(read));
                for (ConsumerRecord<byte[], byte[]> row : consumer.poll(Duration.ofMillis(500))) {
                    read[row.partition()]++;
                }
                int last = Arrays.stream(read).min().getAsInt();
                int share = Arrays.stream(read).max().getAsInt() * 100 / RECORDS;
                atFirst = atFirst < 0 && last > 0 ? share : atFirst;
                atQuarter = atQuarter < 0 && last >= RECORDS / 4 ? share : atQuarter;
            }
        }
        String seen = "the first partition was at " + atFirst + " % when the last came to its first record, at "
                + atQuarter + " % when it came to a quarter";
        System.out.println(seen);
        Check.expect(atFirst <= 50 && atQuarter <= 75, seen);
    }
}
