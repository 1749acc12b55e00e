package micronaut;

import io.micronaut.configuration.kafka.annotation.KafkaClient;
import io.micronaut.configuration.kafka.annotation.KafkaListener;
import io.micronaut.configuration.kafka.annotation.KafkaPartition;
import io.micronaut.configuration.kafka.annotation.OffsetReset;
import io.micronaut.configuration.kafka.annotation.OffsetStrategy;
import io.micronaut.configuration.kafka.annotation.Topic;
import io.micronaut.context.ApplicationContext;
import io.micronaut.context.annotation.Requires;
import jakarta.inject.Singleton;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import story.Story;

/** The story of the table with Micronaut Kafka: an application of its own for each member, and one that produces and administrates. */
public final class MicronautStory implements Story.Client {
    private final String bootstrap;
    private final ApplicationContext application;

    private MicronautStory(String bootstrap) {
        this.bootstrap = bootstrap;
        this.application = start(Map.of());
    }

    public static void main(String[] args) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        String jar = KafkaClient.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        Story.tell("Micronaut Kafka", jar.replaceAll(".*-|\\.jar", ""), new MicronautStory(args[0]));
        System.exit(0);
    }

    private ApplicationContext start(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("kafka.bootstrap.servers", bootstrap);
        settings.put("kafka.health.enabled", false);
        return ApplicationContext.run(settings);
    }

    /** What produces: Micronaut writes the code. */
    @KafkaClient(acks = KafkaClient.Acknowledge.ALL)
    public interface Writer {
        void send(@Topic String topic, @KafkaPartition Integer partition, Integer value);
    }

    /** The member's listener, in the applications that are told a topic. Offsets are committed after each record. */
    @Requires(property = "story.topic")
    @KafkaListener(groupId = "${story.group}", offsetReset = OffsetReset.EARLIEST, offsetStrategy = OffsetStrategy.SYNC_PER_RECORD,
            sessionTimeout = "10s", heartbeatInterval = "300ms", pollTimeout = "50ms")
    public static class Listener implements ConsumerRebalanceListener {
        private final Subscriber subscriber;

        public Listener(Subscriber subscriber) {
            this.subscriber = subscriber;
        }

        @Topic("${story.topic}")
        public void receive(Integer value) {
            subscriber.read(value);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            subscriber.change(partitions.size());
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            subscriber.change(-partitions.size());
        }
    }

    /** What a member's application keeps. */
    @Singleton
    public static class Subscriber extends Story.Member {
        private ApplicationContext application;
        private int has;

        synchronized void change(int count) {
            has += count;
            assigned(has);
        }

        /** The listener commits each record. */
        @Override
        public void commit() throws InterruptedException {
            Thread.sleep(300);
        }

        @Override
        public void leave() {
            application.close();
        }
    }

    @Override
    public void create(String topic, int partitions) throws Exception {
        application.getBean(AdminClient.class).createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }

    @Override
    public void produce(String topic, List<Integer> values) {
        Writer writer = application.getBean(Writer.class);
        values.forEach(value -> writer.send(topic, value % Story.PARTITIONS, value));
    }

    @Override
    public void admin(String topic) throws Exception {
        AdminClient client = application.getBean(AdminClient.class);
        create(topic, 3);
        Story.until("listed", () -> client.listTopics().names().get().contains(topic));
        int partitions = client.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
        Story.expect(partitions == 3, partitions + " partitions described");
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var settings = client.describeConfigs(List.of(resource)).all().get().get(resource);
        Story.expect(settings.get("retention.ms") != null, "retention.ms is not described");
        client.deleteTopics(List.of(topic)).all().get();
        Story.until("gone", () -> !client.listTopics().names().get().contains(topic));
    }

    @Override
    public Story.Member join(String topic, String group) {
        ApplicationContext own = start(Map.of("story.topic", topic, "story.group", group));
        Subscriber subscriber = own.getBean(Subscriber.class);
        subscriber.application = own;
        return subscriber;
    }
}
