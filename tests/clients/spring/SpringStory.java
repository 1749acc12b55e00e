import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaAdmin;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ConsumerAwareRebalanceListener;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.listener.MessageListener;
import story.Story;

/** The story of the table with Spring Kafka: a template, an admin, and listener containers that commit after each record. */
final class SpringStory implements Story.Client {
    private final String bootstrap;
    private final KafkaAdmin admin;

    private SpringStory(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = new KafkaAdmin(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] args) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        String jar = KafkaTemplate.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        String version = jar.replaceAll(".*-|\\.jar", "");
        Story.tell("Spring Kafka", version, new SpringStory(args[0]));
        System.exit(0);
    }

    @Override
    public void create(String topic, int partitions) {
        admin.createOrModifyTopics(new NewTopic(topic, partitions, (short) 1));
        Story.expect(admin.describeTopics(topic).get(topic).partitions().size() == partitions, "the number of partitions");
    }

    @Override
    public void produce(String topic, List<Integer> values) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all");
        var factory = new DefaultKafkaProducerFactory<>(settings, new IntegerSerializer(), new IntegerSerializer());
        try {
            var template = new KafkaTemplate<>(factory);
            List<CompletableFuture<?>> waiting = new ArrayList<>();
            values.forEach(value -> waiting.add(template.send(topic, value % Story.PARTITIONS, null, value)));
            for (CompletableFuture<?> each : waiting) {
                each.get(20, TimeUnit.SECONDS);
            }
        } finally {
            factory.destroy();
        }
    }

    @Override
    public void admin(String topic) throws Exception {
        create(topic, 3);
        try (AdminClient client = AdminClient.create(admin.getConfigurationProperties())) {
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            var settings = client.describeConfigs(List.of(resource)).all().get().get(resource);
            Story.expect(settings.get("retention.ms") != null, "retention.ms is not described");
            client.deleteTopics(List.of(topic)).all().get();
            Story.until("gone", () -> !client.listTopics().names().get().contains(topic));
        }
    }

    @Override
    public Story.Member join(String topic, String group) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("session.timeout.ms", Story.SESSION_MS);
        settings.put("heartbeat.interval.ms", Story.HEARTBEAT_MS);
        return new Listener(topic, settings);
    }

    private static final class Listener extends Story.Member implements MessageListener<Integer, Integer>, ConsumerAwareRebalanceListener {
        private final KafkaMessageListenerContainer<Integer, Integer> container;
        private int has;

        Listener(String topic, Map<String, Object> settings) {
            var properties = new ContainerProperties(topic);
            properties.setMessageListener(this);
            properties.setConsumerRebalanceListener(this);
            properties.setAckMode(ContainerProperties.AckMode.RECORD);
            properties.setPollTimeout(50);
            var factory = new DefaultKafkaConsumerFactory<>(settings, new IntegerDeserializer(), new IntegerDeserializer());
            container = new KafkaMessageListenerContainer<>(factory, properties);
            container.start();
        }

        @Override
        public void onMessage(org.apache.kafka.clients.consumer.ConsumerRecord<Integer, Integer> record) {
            read(record.value());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            has += partitions.size();
            assigned(has);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            has -= partitions.size();
            assigned(has);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            onPartitionsRevoked(partitions);
        }

        /** The container commits each record after the listener has had it. */
        @Override
        public void commit() throws InterruptedException {
            Thread.sleep(300);
        }

        @Override
        public void leave() {
            container.stop();
        }
    }
}
