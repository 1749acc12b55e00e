import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
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
        Check.check("incrementalAlterConfigs", this::alter);
        Check.check("incrementalAlterConfigs: errors", this::alterErrors);
        Check.check("deleteRecords", this::deleteRecords);
        Check.check("a compacted topic refuses records without a key", this::keyless);
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

    private Config describeConfigs(String name) throws Exception {
        ConfigResource where = new ConfigResource(ConfigResource.Type.TOPIC, name);
        return admin.describeConfigs(List.of(where)).all().get().get(where);
    }

    private void alter(String name, AlterConfigsOptions options, AlterConfigOp... changes) throws Exception {
        ConfigResource where = new ConfigResource(ConfigResource.Type.TOPIC, name);
        admin.incrementalAlterConfigs(Map.of(where, List.of(changes)), options).all().get();
    }

    private static AlterConfigOp change(OpType kind, String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), kind);
    }

    private void alter() throws Exception {
        String name = Cluster.topic("altered");
        cluster.create(name, 2, Map.of("segment.ms", "3600000"));
        AlterConfigOp[] changes = {
            change(OpType.SET, "retention.ms", "86400000"),
            change(OpType.SET, "retention.bytes", "1000000000"),
            change(OpType.APPEND, "cleanup.policy", "compact"),
            change(OpType.SET, "min.cleanable.dirty.ratio", "0.25"),
        };
        alter(name, new AlterConfigsOptions().validateOnly(true), changes);
        Check.equal(describeConfigs(name).get("retention.ms").value(), "604800000", "validated only");
        alter(name, new AlterConfigsOptions(), changes);
        var expected = Map.of(
                "retention.ms", "86400000",
                "retention.bytes", "1000000000",
                "cleanup.policy", "delete,compact",
                "min.cleanable.dirty.ratio", "0.25",
                "segment.ms", "3600000");
        // Kafka answers before its brokers have taken the change in.
        Check.waitFor("the change", 20, () -> describeConfigs(name).get("retention.ms").value().equals("86400000"));
        Config found = describeConfigs(name);
        expected.forEach((key, value) -> {
            Check.equal(found.get(key).value(), value, key);
            Check.equal(found.get(key).source(), ConfigSource.DYNAMIC_TOPIC_CONFIG, "source of " + key);
        });
        alter(
                name,
                new AlterConfigsOptions(),
                change(OpType.SUBTRACT, "cleanup.policy", "compact"),
                change(OpType.DELETE, "retention.ms", null));
        Check.waitFor("the change", 20, () -> describeConfigs(name).get("retention.ms").isDefault());
        Check.equal(describeConfigs(name).get("cleanup.policy").value(), "delete", "cleanup.policy");
        Check.equal(describeConfigs(name).get("retention.bytes").value(), "1000000000", "retention.bytes");
    }

    private void alterErrors() throws Exception {
        String name = Cluster.topic("alter-errors");
        cluster.create(name, 1);
        for (var bad : Map.of("retention.ms", "soon", "cleanup.policy", "shred", "no.such.thing", "1").entrySet()) {
            Check.raises(
                    InvalidConfigurationException.class,
                    bad.getKey(),
                    () -> alter(name, new AlterConfigsOptions(), change(OpType.SET, bad.getKey(), bad.getValue())));
        }
        Check.raises(
                UnknownTopicOrPartitionException.class,
                "a topic that does not exist",
                () -> alter(
                        Cluster.topic("nobody-made-this"),
                        new AlterConfigsOptions(),
                        change(OpType.SET, "retention.ms", "1000")));
        Check.expect(describeConfigs(name).get("retention.ms").isDefault(), "nothing was changed");
    }

    private void deleteRecords() throws Exception {
        String name = Cluster.topic("delete-records");
        cluster.create(name, 1);
        cluster.produce(Cluster.records(name, 100, 10), Map.of());
        var place = new TopicPartition(name, 0);
        var deleted = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(40)));
        Check.equal(deleted.lowWatermarks().get(place).get().lowWatermark(), 40L, "low watermark");
        var earliest = admin.listOffsets(Map.of(place, org.apache.kafka.clients.admin.OffsetSpec.earliest()));
        Check.equal(earliest.partitionResult(place).get().offset(), 40L, "earliest");
        var rows = cluster.readAll(name, 1, Map.of()).get(0);
        Check.equal(rows.get(0).offset(), 40L, "the first that can be read");
        Check.equal(rows.size(), 60, "records left");
        Check.raises(
                OffsetOutOfRangeException.class,
                "above the end",
                () -> admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(101))).all().get());
        var all = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(-1)));
        Check.equal(all.lowWatermarks().get(place).get().lowWatermark(), 100L, "everything");
    }

    private void keyless() throws Exception {
        String name = Cluster.topic("compacted");
        cluster.create(name, 1, Map.of("cleanup.policy", "compact"));
        cluster.produce(Cluster.records(name, 20, 5), Map.of());
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var record = new org.apache.kafka.clients.producer.ProducerRecord<byte[], byte[]>(name, "x".getBytes());
            Check.raises(
                    InvalidRecordException.class,
                    codec,
                    () -> cluster.produce(List.of(record), Map.of("compression.type", codec)));
        }
        Check.equal(cluster.readAll(name, 1, Map.of()).get(0).size(), 20, "records");
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
