import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Apache Kafka's own client to be measured. Prints one line of JSON. The arguments of {@code produce} and {@code consume},
 * and what they do, are those of client.py beside it; settings are the client's defaults.
 */
public final class Client {
    private static final Duration PATIENCE = Duration.ofSeconds(180);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> produce(args[1], args[2], Integer.parseInt(args[3]), Long.parseLong(args[4]),
                Integer.parseInt(args[5]), Integer.parseInt(args[6]), Long.parseLong(args[7]));
            case "consume" -> consume(args[1], args[2], Integer.parseInt(args[3]), Long.parseLong(args[4]),
                Long.parseLong(args[5]));
            default -> fail("there is no " + args[0]);
        }
    }

    private static void produce(String bootstrap, String topic, int partitions, long records, int recordBytes,
            int batchBytes, long seconds) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", "all");
        settings.put("batch.size", batchBytes);
        var failed = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
                var consumer = consumer(bootstrap)) {
            for (int partition = 0; partition < partitions; partition++) {
                for (int i = 0; i < 2; i++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, new byte[5120]));
                }
            }
            producer.flush();
            long before = ends(consumer, topic, partitions);
            byte[] value = new byte[recordBytes];
            long inBatch = Math.max(1, batchBytes / (recordBytes + 10));
            long sent = 0;
            Measure measure = new Measure();
            while (sent < records && measure.seconds() < seconds && failed.get() == null) {
                int partition = (int) (sent / inBatch % partitions);
                long now = Math.min(inBatch, records - sent);
                for (long i = 0; i < now; i++) {
                    producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, cause) -> {
                        if (cause != null) {
                            failed.set(cause);
                        }
                    });
                }
                sent += now;
            }
            producer.flush();
            String result = measure.result(sent, sent == records);
            long there = ends(consumer, topic, partitions) - before;
            if (failed.get() != null || there != sent) {
                fail(sent + " records were sent, " + there + " are there; " + failed.get());
            }
            System.out.println(result);
        }
    }

    private static void consume(String bootstrap, String topic, int partitions, long records, long seconds)
            throws Exception {
        try (var consumer = consumer(bootstrap)) {
            long there = ends(consumer, topic, partitions);
            if (there != records) {
                fail(records + " records were written, " + there + " are there");
            }
            List<TopicPartition> all = all(topic, partitions);
            long read = 0;
            Measure measure = new Measure();
            consumer.assign(all);
            all.forEach(partition -> consumer.seek(partition, 0));
            while (read < records && measure.seconds() < seconds) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    read += record.value() == null ? 0 : 1;
                }
            }
            System.out.println(measure.result(read, read == records));
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", false);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** The sum of the end offsets, as soon as every partition has a leader that answers. */
    private static long ends(KafkaConsumer<byte[], byte[]> consumer, String topic, int partitions) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            try {
                var ends = consumer.endOffsets(all(topic, partitions), Duration.ofSeconds(20));
                return ends.values().stream().mapToLong(Long::longValue).sum();
            } catch (RetriableException cause) {
                if (System.nanoTime() > deadline) {
                    throw cause;
                }
                Thread.sleep(200);
            }
        }
    }

    private static List<TopicPartition> all(String topic, int partitions) {
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            all.add(new TopicPartition(topic, partition));
        }
        return all;
    }

    private static void fail(String why) {
        System.err.println(why);
        System.exit(1);
    }

    /** Clock and processor time of this process, compiler and collector included. */
    private static final class Measure {
        private final com.sun.management.OperatingSystemMXBean system =
            (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        private final long start = System.nanoTime();
        private final long cpu = system.getProcessCpuTime();

        double seconds() {
            return (System.nanoTime() - start) / 1e9;
        }

        String result(long records, boolean complete) {
            return String.format(Locale.ROOT,
                "{\"records\": %d, \"complete\": %b, \"seconds\": %.4f, \"cpu_seconds\": %.4f}", records, complete,
                seconds(), (system.getProcessCpuTime() - cpu) / 1e9);
        }
    }
}
