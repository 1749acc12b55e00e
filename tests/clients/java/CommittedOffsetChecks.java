import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetMetadataTooLarge;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnsupportedVersionException;

/** Committed offsets of a consumer that assigns its own partitions, and groups through Java's Admin client. */
final class CommittedOffsetChecks {
    private final Cluster cluster;
    private final Admin admin;

    CommittedOffsetChecks(Cluster cluster) {
        this.cluster = cluster;
        this.admin = cluster.admin;
    }

    void run() {
        Check.check("assign, commitSync, committed", this::commitAndFetch);
        Check.check("a consumer goes on where its group was", this::goesOn);
        Check.check("commitAsync, auto commit", this::asyncAndAuto);
        Check.check("commit: errors", this::errors);
        Check.check("listConsumerGroupOffsets, alterConsumerGroupOffsets", this::adminOffsets);
        Check.check("listGroups, describe, deleteConsumerGroups", this::groups);
        Check.check("a deleted topic takes its offsets with it", this::deletedTopic);
        Check.check("__consumer_offsets is internal", this::internal);
        Check.check("subscribe, commit, resume", this::subscribe);
    }

    private KafkaConsumer<byte[], byte[]> of(String group) {
        return cluster.consumer(Map.of("group.id", group, "auto.offset.reset", "earliest"));
    }

    private List<TopicPartition> topic(String label, int partitions) throws Exception {
        String name = Cluster.topic(label);
        cluster.create(name, partitions);
        return Cluster.places(name, partitions);
    }

    private void commitAndFetch() throws Exception {
        List<TopicPartition> places = topic("committed", 3);
        String group = "g-" + places.get(0).topic();
        String metadata = "pünktlich \uD83D\uDE00";
        try (var consumer = of(group)) {
            consumer.assign(places);
            Check.equal(consumer.committed(Set.copyOf(places)).get(places.get(0)), null, "before");
            consumer.commitSync(Map.of(
                    places.get(0), new OffsetAndMetadata(5, Optional.of(0), metadata),
                    places.get(1), new OffsetAndMetadata(7)));
        }
        try (var consumer = of(group)) {
            var found = consumer.committed(Set.copyOf(places));
            Check.equal(found.get(places.get(0)), new OffsetAndMetadata(5, Optional.of(0), metadata), "with metadata");
            Check.equal(found.get(places.get(1)), new OffsetAndMetadata(7), "without");
            Check.equal(found.get(places.get(2)), null, "of the third");
        }
    }

    private void goesOn() throws Exception {
        TopicPartition place = topic("goes-on", 1).get(0);
        List<ProducerRecord<byte[], byte[]>> sent = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            sent.add(new ProducerRecord<>(place.topic(), 0, null, ("" + i).getBytes()));
        }
        cluster.produce(sent, Map.of());
        long next = 0;
        for (int turn = 0; turn < 4; turn++) {
            try (var consumer = of("g-" + place.topic())) {
                consumer.assign(List.of(place));
                Check.equal(consumer.position(place), next, "position of consumer " + turn);
                long end = System.nanoTime() + 20_000_000_000L;
                while (next < 25 * (turn + 1)) {
                    Check.expect(System.nanoTime() < end, "nothing to read within 20 s");
                    for (var row : consumer.poll(Duration.ofMillis(200))) {
                        if (next < 25 * (turn + 1)) {
                            Check.equal(row.offset(), next++, "offset");
                        }
                    }
                }
                consumer.commitSync(Map.of(place, new OffsetAndMetadata(next)));
            }
        }
    }

    private void asyncAndAuto() throws Exception {
        TopicPartition place = topic("async", 1).get(0);
        cluster.produce(List.of(new ProducerRecord<>(place.topic(), 0, null, "v".getBytes())), Map.of());
        String group = "g-" + place.topic();
        try (var consumer = of(group)) {
            consumer.assign(List.of(place));
            for (long offset = 1; offset <= 20; offset++) {
                consumer.commitAsync(Map.of(place, new OffsetAndMetadata(offset)), null);
            }
            // Waits for those before it.
            consumer.commitSync(Map.of());
            Check.waitFor("the last of them", 20, () ->
                    new OffsetAndMetadata(20).equals(consumer.committed(Set.of(place)).get(place)));
        }
        String automatic = "auto-" + place.topic();
        var options = Map.of("group.id", automatic, "auto.offset.reset", "earliest", "enable.auto.commit", "true");
        try (var consumer = cluster.consumer(options)) {
            consumer.assign(List.of(place));
            Check.waitFor("a record", 20, () -> !consumer.poll(Duration.ofMillis(200)).isEmpty());
        }
        try (var consumer = of(automatic)) {
            Check.equal(consumer.committed(Set.of(place)).get(place).offset(), 1L, "committed when it was closed");
        }
    }

    private void errors() throws Exception {
        TopicPartition place = topic("errors", 1).get(0);
        TopicPartition missing = new TopicPartition(Cluster.topic("nobody-made-this"), 0);
        try (var consumer = of("g-" + place.topic())) {
            var long1 = new OffsetAndMetadata(1, "x".repeat(4097));
            Check.raises(OffsetMetadataTooLarge.class, "4097", () -> consumer.commitSync(Map.of(place, long1)));
            consumer.commitSync(Map.of(place, new OffsetAndMetadata(1, "x".repeat(4096))));
            var patience = Duration.ofSeconds(2);
            // As with Kafka, the client goes on asking for a topic that may come.
            Check.raises(TimeoutException.class, "unknown topic", () ->
                    consumer.commitSync(Map.of(missing, new OffsetAndMetadata(1)), patience));
        }
    }

    private Map<TopicPartition, OffsetAndMetadata> listed(String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
    }

    private void adminOffsets() throws Exception {
        List<TopicPartition> places = topic("admin-offsets", 2);
        String group = "g-" + places.get(0).topic();
        Check.equal(listed(group), Map.of(), "before");
        var wanted = Map.of(places.get(0), new OffsetAndMetadata(3, "m"), places.get(1), new OffsetAndMetadata(4));
        admin.alterConsumerGroupOffsets(group, wanted).all().get();
        Check.equal(listed(group), wanted, "all of them");
        var moved = Map.of(places.get(0), new OffsetAndMetadata(0));
        admin.alterConsumerGroupOffsets(group, moved).all().get();
        Check.equal(listed(group).get(places.get(0)).offset(), 0L, "reset");
        admin.deleteConsumerGroupOffsets(group, Set.of(places.get(0))).all().get();
        Check.equal(listed(group).keySet(), Set.of(places.get(1)), "after one was deleted");
    }

    private void groups() throws Exception {
        TopicPartition place = topic("groups", 1).get(0);
        String group = "g-" + place.topic();
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(3))).all().get();
        var found = admin.listGroups().all().get().stream().filter(g -> g.groupId().equals(group)).toList();
        Check.equal(found.size(), 1, "listed");
        Check.equal(found.get(0).groupState(), Optional.of(GroupState.EMPTY), "state in the list");
        Check.expect(found.get(0).isSimpleConsumerGroup(), "a simple group");
        var about = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        Check.equal(about.groupState(), GroupState.EMPTY, "state");
        Check.equal(about.members().size(), 0, "members");
        Check.equal(about.coordinator().host() + ":" + about.coordinator().port(), cluster.bootstrap, "coordinator");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Check.expect(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "still listed");
        Check.equal(listed(group), Map.of(), "offsets");
        Check.raises(GroupIdNotFoundException.class, "again", () ->
                admin.deleteConsumerGroups(List.of(group)).all().get());
    }

    private void deletedTopic() throws Exception {
        TopicPartition place = topic("gone", 1).get(0);
        String group = "g-" + place.topic();
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(3))).all().get();
        admin.deleteTopics(List.of(place.topic())).all().get();
        Check.waitFor("the offsets are gone", 20, () -> listed(group).isEmpty());
        cluster.create(place.topic(), 1);
        Check.equal(listed(group), Map.of(), "of the new topic");
    }

    private void internal() throws Exception {
        String name = "__consumer_offsets";
        var about = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        Check.expect(about.isInternal(), "internal");
        Check.expect(!admin.listTopics().names().get().contains(name), "listed among the others");
        var record = new ProducerRecord<>(name, 0, "k".getBytes(), "v".getBytes());
        Check.raises(InvalidTopicException.class, "produce", () -> cluster.produce(List.of(record), Map.of()));
    }

    private void subscribe() throws Exception {
        TopicPartition place = topic("subscribed", 1).get(0);
        for (String value : List.of("one", "two")) {
            cluster.produce(List.of(new ProducerRecord<>(place.topic(), 0, "k".getBytes(), value.getBytes())), Map.of());
            try (var consumer = of("g-" + place.topic())) {
                consumer.subscribe(List.of(place.topic()));
                String got = null;
                long end = System.nanoTime() + 20_000_000_000L;
                while (got == null && System.nanoTime() < end) {
                    for (var record : consumer.poll(Duration.ofMillis(500))) {
                        got = new String(record.value());
                    }
                }
                Check.equal(got, value, "record");
                consumer.commitSync();
            }
        }
    }
}
