import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A consumer with default settings that is assigned many partitions of one topic, of which few get records: BOOTSTRAP PARTITIONS BUSY RATE
 * SECONDS. RATE records a second go to the first BUSY partitions in turn. Prints "begin", after SECONDS "end", and a line of JSON about the
 * time between.
 */
public final class Idle {
    private static final String TOPIC = "idle";
    private static final int WARM_SECONDS = 5;

    private static double metric(KafkaConsumer<?, ?> consumer, String group, String name) {
        for (Map.Entry<MetricName, ? extends org.apache.kafka.common.Metric> entry : consumer.metrics().entrySet()) {
            MetricName key = entry.getKey();
            boolean whole = !key.tags().containsKey("topic") && !key.tags().containsKey("node-id");
            if (whole && key.group().equals(group) && key.name().equals(name)) {
                return ((Number) entry.getValue().metricValue()).doubleValue();
            }
        }
        throw new IllegalStateException("no metric " + name);
    }

    private static double[] figures(KafkaConsumer<?, ?> consumer) {
        return new double[] {
            metric(consumer, "consumer-metrics", "outgoing-byte-total"),
            metric(consumer, "consumer-metrics", "incoming-byte-total"),
            metric(consumer, "consumer-fetch-manager-metrics", "fetch-total"),
        };
    }

    private static long poll(KafkaConsumer<byte[], byte[]> consumer, double seconds) {
        long records = 0;
        long end = System.nanoTime() + (long) (seconds * 1e9);
        while (System.nanoTime() < end) {
            records += consumer.poll(Duration.ofMillis(100)).count();
        }
        return records;
    }

    private static void produce(String bootstrap, int busy, double rate) throws InterruptedException {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("linger.ms", "0");
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            long begun = System.nanoTime();
            for (long n = 0; ; n++) {
                producer.send(new ProducerRecord<>(TOPIC, (int) (n % busy), null, new byte[100]));
                long due = begun + (long) ((n + 1) / rate * 1e9);
                Thread.sleep(Math.max(0, (due - System.nanoTime()) / 1_000_000));
            }
        }
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        int partitions = Integer.parseInt(args[1]);
        int busy = Integer.parseInt(args[2]);
        double rate = Double.parseDouble(args[3]);
        double seconds = Double.parseDouble(args[4]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(TOPIC, partitions, (short) 1))).all().get();
        }
        // Kafka answers before its partitions can be used.
        Thread.sleep(15_000);
        Thread producer = new Thread(() -> {
            try {
                produce(bootstrap, busy, rate);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
        producer.setDaemon(true);
        producer.start();
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < partitions; partition++) {
                all.add(new TopicPartition(TOPIC, partition));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            poll(consumer, WARM_SECONDS);
            double[] before = figures(consumer);
            System.out.println("begin");
            long records = poll(consumer, seconds);
            System.out.println("end");
            double[] after = figures(consumer);
            System.out.printf(
                    "{\"records\": %d, \"sent\": %.0f, \"received\": %.0f, \"fetches\": %.0f}%n",
                    records, after[0] - before[0], after[1] - before[1], after[2] - before[2]);
        }
        System.exit(0);
    }
}
