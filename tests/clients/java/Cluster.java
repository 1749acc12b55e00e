import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The broker under test: makes clients with default settings, topics, records, and judges what was read. */
final class Cluster implements AutoCloseable {
    /** Yesterday: no clock of the broker can pass for it, and it is young enough to be retained. */
    static final long EPOCH_MS = (System.currentTimeMillis() / 1000 - 86_400) * 1000;

    private static final String RUN = ProcessHandle.current().pid() + "-" + System.currentTimeMillis() / 1000;

    final String bootstrap;
    final Admin admin;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(5));
    }

    static String topic(String name) {
        return "java-" + name + "-" + RUN;
    }

    /** Creates a topic and waits until its leaders answer. */
    void create(String name, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(configs))).all().get();
        Check.waitFor("topic " + name, 20, () -> admin.listTopics().names().get().contains(name));
        Map<TopicPartition, OffsetSpec> places = new HashMap<>();
        for (int p = 0; p < partitions; p++) {
            places.put(new TopicPartition(name, p), OffsetSpec.latest());
        }
        admin.listOffsets(places).all().get();
    }

    void create(String name, int partitions) throws Exception {
        create(name, partitions, Map.of());
    }

    KafkaProducer<byte[], byte[]> producer(Map<String, ?> options) {
        Map<String, Object> settings = new HashMap<>(options);
        settings.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    KafkaConsumer<byte[], byte[]> consumer(Map<String, ?> options) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("enable.auto.commit", "false");
        settings.put("allow.auto.create.topics", "false");
        settings.putAll(options);
        settings.put("bootstrap.servers", bootstrap);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Sends all records without waiting in between; the acknowledgements in the order of sending. */
    List<RecordMetadata> produce(List<ProducerRecord<byte[], byte[]>> records, Map<String, ?> options) throws Exception {
        List<Future<RecordMetadata>> waiting = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(options)) {
            for (ProducerRecord<byte[], byte[]> record : records) {
                waiting.add(producer.send(record));
            }
        }
        List<RecordMetadata> acked = new ArrayList<>();
        for (Future<RecordMetadata> each : waiting) {
            acked.add(each.get());
        }
        return acked;
    }

    static List<TopicPartition> places(String topic, int partitions) {
        List<TopicPartition> places = new ArrayList<>();
        for (int p = 0; p < partitions; p++) {
            places.add(new TopicPartition(topic, p));
        }
        return places;
    }

    /** Reads all partitions from beginning to end, by assignment. */
    Map<Integer, List<ConsumerRecord<byte[], byte[]>>> readAll(String topic, int partitions, Map<String, ?> options) {
        return readAll(topic, partitions, options, 60);
    }

    Map<Integer, List<ConsumerRecord<byte[], byte[]>>> readAll(
            String topic, int partitions, Map<String, ?> options, int seconds) {
        Map<Integer, List<ConsumerRecord<byte[], byte[]>>> got = new HashMap<>();
        List<TopicPartition> places = places(topic, partitions);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(options)) {
            consumer.assign(places);
            consumer.seekToBeginning(places);
            Map<TopicPartition, Long> ends = consumer.endOffsets(places);
            long end = System.nanoTime() + seconds * 1_000_000_000L;
            places.forEach(place -> got.put(place.partition(), new ArrayList<>()));
            while (places.stream().anyMatch(place -> consumer.position(place) < ends.get(place))) {
                Check.expect(System.nanoTime() < end, topic + " is not read to " + ends + " within " + seconds + " s");
                consumer.poll(Duration.ofMillis(500)).forEach(record -> got.get(record.partition()).add(record));
            }
        }
        return got;
    }

    /** Keyed, compressible records with odd cases mixed in. */
    static List<ProducerRecord<byte[], byte[]>> records(String topic, int count, int keys) {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            byte[] value = ("value " + i + " ").repeat(1 + i % 50).getBytes();
            if (i % 97 == 0) {
                value = null;
            } else if (i % 89 == 0) {
                value = new byte[0];
            }
            var record = new ProducerRecord<>(topic, null, EPOCH_MS + i * 10L, ("key-" + i % keys).getBytes(), value);
            if (i % 3 == 0) {
                record.headers().add("h", ("" + i).getBytes()).add("h", "again".getBytes());
                record.headers().add("empty", new byte[0]).add("null", null);
            }
            records.add(record);
        }
        return records;
    }

    /** Every record once and unchanged; dense offsets; each key in one partition, in the order of sending. */
    static void judge(
            List<ProducerRecord<byte[], byte[]>> sent, Map<Integer, List<ConsumerRecord<byte[], byte[]>>> got) {
        int total = got.values().stream().mapToInt(List::size).sum();
        Check.equal(total, sent.size(), "records read");
        Map<String, Integer> home = new HashMap<>();
        Map<String, List<ConsumerRecord<byte[], byte[]>>> byKey = new HashMap<>();
        got.forEach((partition, rows) -> {
            for (int i = 0; i < rows.size(); i++) {
                ConsumerRecord<byte[], byte[]> row = rows.get(i);
                Check.equal(row.offset(), (long) i, "offset in partition " + partition);
                String key = new String(row.key());
                Check.equal(home.computeIfAbsent(key, k -> partition), partition, "partition of " + key);
                byKey.computeIfAbsent(key, k -> new ArrayList<>()).add(row);
            }
        });
        Map<String, Integer> next = new HashMap<>();
        for (ProducerRecord<byte[], byte[]> wanted : sent) {
            String key = new String(wanted.key());
            int i = next.merge(key, 1, Integer::sum) - 1;
            List<ConsumerRecord<byte[], byte[]>> rows = byKey.getOrDefault(key, List.of());
            Check.expect(i < rows.size(), "record " + i + " of " + key + " is missing");
            ConsumerRecord<byte[], byte[]> row = rows.get(i);
            Check.equal(row.value(), wanted.value(), "value " + i + " of " + key);
            if (wanted.timestamp() != null) {
                Check.equal(row.timestamp(), wanted.timestamp(), "time " + i + " of " + key);
            }
            Check.equal(text(row.headers().toArray()), text(wanted.headers().toArray()), "headers " + i + " of " + key);
        }
    }

    private static String text(Header[] headers) {
        StringBuilder text = new StringBuilder();
        for (Header header : headers) {
            text.append(header.key()).append('=').append(Arrays.toString(header.value())).append(' ');
        }
        return text.toString();
    }
}
