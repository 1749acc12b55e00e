import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, configurations and the cluster through Java's Admin client. */
final class AdminChecks {
    private final Cluster cluster;
    private final Admin admin;

    AdminChecks(Cluster cluster) {
        this.cluster = cluster;
        this.admin = cluster.admin;
    }

    void run() {
        Check.check("describeCluster", this::describeCluster);
        Check.check("createTopics, describeTopics, listTopics", this::topics);
        Check.check("createTopics: errors", this::createErrors);
        Check.check("createTopics: validate only", this::validateOnly);
        Check.check("describeConfigs", this::configs);
        Check.check("deleteTopics", this::delete);
        Check.check("unknown topic", this::unknown);
    }

    private void describeCluster() throws Exception {
        var about = admin.describeCluster();
        Collection<Node> nodes = about.nodes().get();
        Check.equal(nodes.size(), 1, "nodes");
        Node node = nodes.iterator().next();
        Check.equal(node.host() + ":" + node.port(), cluster.bootstrap, "address");
        Check.expect(!about.clusterId().get().isEmpty(), "a cluster id");
        Check.equal(about.controller().get().id(), node.id(), "controller");
    }

    private TopicDescription describe(String name) throws Exception {
        return admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
    }

    private void topics() throws Exception {
        String name = Cluster.topic("topics");
        var created = admin.createTopics(List.of(new NewTopic(name, 4, (short) 1)));
        Check.equal(created.numPartitions(name).get(), 4, "partitions as created");
        Check.equal(created.replicationFactor(name).get(), 1, "replicas as created");
        Check.waitFor("the topic", 20, () -> admin.listTopics().names().get().contains(name));
        TopicDescription about = describe(name);
        Check.equal(about.partitions().size(), 4, "partitions");
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        for (int p = 0; p < 4; p++) {
            Check.equal(about.partitions().get(p).partition(), p, "partition");
            Check.equal(about.partitions().get(p).leader().id(), node, "leader of " + p);
            Check.equal(about.partitions().get(p).isr().size(), 1, "in-sync replicas of " + p);
        }
        Check.expect(!about.isInternal(), "not internal");
        Check.expect(!about.topicId().equals(Uuid.ZERO_UUID), "a topic id");
        Check.equal(about.topicId(), created.topicId(name).get(), "topic id");
        var listed = admin.listTopics().namesToListings().get().get(name);
        Check.equal(listed.topicId(), about.topicId(), "topic id in the list");
    }

    private void createErrors() throws Exception {
        String name = Cluster.topic("twice");
        cluster.create(name, 1);
        Check.raises(TopicExistsException.class, "the same again", () -> cluster.create(name, 1));
        Check.raises(InvalidTopicException.class, "a bad name", () -> cluster.create("not a name!", 1));
        Check.raises(InvalidTopicException.class, "a long name", () -> cluster.create("x".repeat(250), 1));
        Check.raises(InvalidPartitionsException.class, "no partitions", () -> cluster.create(Cluster.topic("none"), 0));
        var replicas = List.of(new NewTopic(Cluster.topic("replicas"), 1, (short) 3));
        Check.raises(
                InvalidReplicationFactorException.class, "replicas", () -> admin.createTopics(replicas).all().get());
        Check.raises(
                InvalidConfigurationException.class,
                "a bad value",
                () -> cluster.create(Cluster.topic("bad"), 1, Map.of("max.message.bytes", "many")));
    }

    private void validateOnly() throws Exception {
        String name = Cluster.topic("validated");
        var options = new org.apache.kafka.clients.admin.CreateTopicsOptions().validateOnly(true);
        admin.createTopics(List.of(new NewTopic(name, 1, (short) 1)), options).all().get();
        Thread.sleep(300);
        Check.expect(!admin.listTopics().names().get().contains(name), "validation created the topic");
    }

    private void configs() throws Exception {
        String name = Cluster.topic("configs");
        cluster.create(name, 1, Map.of("max.message.bytes", "123456"));
        ConfigResource where = new ConfigResource(ConfigResource.Type.TOPIC, name);
        Config found = admin.describeConfigs(List.of(where)).all().get().get(where);
        ConfigEntry limit = found.get("max.message.bytes");
        Check.equal(limit.value(), "123456", "max.message.bytes");
        Check.equal(limit.source(), ConfigSource.DYNAMIC_TOPIC_CONFIG, "source of max.message.bytes");
        Check.expect(!limit.isDefault() && !limit.isReadOnly() && !limit.isSensitive(), "its flags");
        for (String key : List.of("retention.ms", "cleanup.policy", "compression.type", "retention.bytes")) {
            ConfigEntry entry = found.get(key);
            Check.expect(entry != null && entry.value() != null, key + " is described");
            Check.equal(entry.source(), ConfigSource.DEFAULT_CONFIG, "source of " + key);
        }
        Check.equal(found.get("cleanup.policy").value(), "delete", "cleanup.policy");
    }

    private void delete() throws Exception {
        String name = Cluster.topic("deleted");
        cluster.create(name, 2);
        cluster.produce(Cluster.records(name, 100, 10), Map.of());
        Uuid before = describe(name).topicId();
        admin.deleteTopics(List.of(name)).all().get();
        Check.waitFor("the topic is gone", 20, () -> !admin.listTopics().names().get().contains(name));
        Check.raises(UnknownTopicOrPartitionException.class, "describing it", () -> describe(name));
        Check.raises(
                UnknownTopicOrPartitionException.class,
                "deleting it again",
                () -> admin.deleteTopics(List.of(name)).all().get());
        cluster.create(name, 2);
        Check.expect(!describe(name).topicId().equals(before), "a new topic has another id");
        var sent = Cluster.records(name, 50, 5);
        cluster.produce(sent, Map.of());
        Cluster.judge(sent, cluster.readAll(name, 2, Map.of()));
    }

    private void unknown() throws Exception {
        String name = Cluster.topic("nobody-made-this");
        Check.raises(UnknownTopicOrPartitionException.class, "describing it", () -> describe(name));
        var place = Map.of(new TopicPartition(name, 0), org.apache.kafka.clients.admin.OffsetSpec.latest());
        var options = new org.apache.kafka.clients.admin.ListOffsetsOptions().timeoutMs(5000);
        Check.raises(
                org.apache.kafka.common.errors.ApiException.class,
                "its offsets",
                () -> admin.listOffsets(place, options).all().get());
        Check.expect(!admin.listTopics().names().get().contains(name), "asking created the topic");
    }
}
