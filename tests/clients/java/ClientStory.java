import java.io.InputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import story.Story;

/** The story of the table with Kafka's own Java client: eager with RangeAssignor, then cooperative. */
final class ClientStory implements Story.Client {
    private final Cluster cluster;
    private final String assignor;

    private ClientStory(Cluster cluster, Class<?> assignor) {
        this.cluster = cluster;
        this.assignor = assignor.getName();
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        try (Cluster cluster = new Cluster(args[0])) {
            var about = new Properties();
            try (InputStream file = KafkaConsumer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
                about.load(file);
            }
            String version = about.getProperty("version");
            Story.tell("Java", version, new ClientStory(cluster, RangeAssignor.class));
            Story.tell("Java, cooperative", version, new ClientStory(cluster, CooperativeStickyAssignor.class));
        }
    }

    @Override
    public void create(String topic, int partitions) throws Exception {
        cluster.create(topic, partitions);
    }

    @Override
    public void produce(String topic, List<Integer> values) throws Exception {
        List<Future<RecordMetadata>> waiting = new ArrayList<>();
        Map<String, Object> settings = Map.of("bootstrap.servers", cluster.bootstrap);
        try (var producer = new KafkaProducer<>(settings, new IntegerSerializer(), new IntegerSerializer())) {
            values.forEach(value -> waiting.add(producer.send(new ProducerRecord<>(topic, value % Story.PARTITIONS, null, value))));
        }
        for (Future<RecordMetadata> each : waiting) {
            each.get();
        }
    }

    @Override
    public void admin(String topic) throws Exception {
        Admin admin = cluster.admin;
        admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get();
        Story.until("listed", () -> admin.listTopics().names().get().contains(topic));
        int partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        Story.expect(partitions == 3, partitions + " partitions described");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var settings = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Story.expect(settings.get("retention.ms") != null, "retention.ms is not described");
        admin.deleteTopics(List.of(topic)).all().get();
        Story.until("gone", () -> !admin.listTopics().names().get().contains(topic));
    }

    @Override
    public Story.Member join(String topic, String group) {
        return new Subscriber(topic, group);
    }

    private final class Subscriber extends Story.Member implements Runnable {
        private final BlockingQueue<CompletableFuture<Void>> commits = new LinkedBlockingQueue<>();
        private final Thread thread = new Thread(this);
        private final String topic;
        private final String group;
        private volatile boolean ending;

        Subscriber(String topic, String group) {
            this.topic = topic;
            this.group = group;
            thread.setDaemon(true);
            thread.start();
        }

        @Override
        public void run() {
            Map<String, Object> settings = Map.of("bootstrap.servers", cluster.bootstrap, "group.id", group, "auto.offset.reset", "earliest",
                    "enable.auto.commit", "false", "session.timeout.ms", Story.SESSION_MS, "heartbeat.interval.ms", Story.HEARTBEAT_MS,
                    "partition.assignment.strategy", assignor);
            try (var consumer = new KafkaConsumer<>(settings, new IntegerDeserializer(), new IntegerDeserializer())) {
                consumer.subscribe(List.of(topic));
                while (!ending) {
                    consumer.poll(Duration.ofMillis(50)).forEach(record -> read(record.value()));
                    assigned(consumer.assignment().size());
                    Collection<CompletableFuture<Void>> wishes = new ArrayList<>();
                    commits.drainTo(wishes);
                    for (CompletableFuture<Void> wish : wishes) {
                        consumer.commitSync();
                        wish.complete(null);
                    }
                }
            } catch (RuntimeException cause) {
                fail(cause);
            }
        }

        @Override
        public void commit() throws Exception {
            var wish = new CompletableFuture<Void>();
            commits.add(wish);
            wish.get(20, TimeUnit.SECONDS);
        }

        @Override
        public void leave() throws Exception {
            ending = true;
            thread.join(20_000);
            Story.expect(!thread.isAlive(), "it does not leave within 20 s");
        }
    }
}
