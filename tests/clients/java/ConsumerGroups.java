import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;

/** Consumer groups of KIP-848 (group.protocol=consumer) with Kafka's own client, and what its Admin client sees of them. */
final class ConsumerGroups {
    private static final int PARTITIONS = 6;

    private final Cluster cluster;

    private ConsumerGroups(Cluster cluster) {
        this.cluster = cluster;
    }

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        try (Cluster cluster = new Cluster(args[0])) {
            var groups = new ConsumerGroups(cluster);
            Check.check("subscribe, rebalance, commit, resume", groups::rebalance);
            Check.check("a pattern, and a topic that is made later", groups::pattern);
            Check.check("from classic to consumer and back while it runs", groups::migration);
        }
        System.out.println("done");
    }

    private KafkaConsumer<byte[], byte[]> member(String group, String protocol) {
        Map<String, Object> options = new HashMap<>(Map.of("group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest",
                "enable.auto.commit", false, "metadata.max.age.ms", 1000));
        if (protocol.equals("classic")) {
            options.put("heartbeat.interval.ms", 500);
        }
        return cluster.consumer(options);
    }

    private void produce(String topic, int first, int last) throws Exception {
        try (var producer = cluster.producer(Map.of())) {
            for (int i = first; i < last; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, String.valueOf(i).getBytes()));
            }
        }
    }

    /** Has members poll until something is so. Each commits what it read. */
    private static void poll(List<KafkaConsumer<byte[], byte[]>> members, List<Integer> got, Check.Condition ready) throws Exception {
        Check.waitFor("members", 60, () -> {
            for (var member : members) {
                var records = member.poll(Duration.ofMillis(50));
                records.forEach(record -> got.add(Integer.parseInt(new String(record.value()))));
                if (!records.isEmpty()) {
                    member.commitSync();
                }
            }
            return ready.holds();
        });
    }

    private static void leave(KafkaConsumer<byte[], byte[]> member) {
        member.close();
    }

    private static boolean shared(List<KafkaConsumer<byte[], byte[]>> members) {
        return members.stream().allMatch(member -> member.assignment().size() == PARTITIONS / members.size());
    }

    private static void each(List<Integer> got, int count) {
        Check.equal(got.stream().sorted().toList(), IntStream.range(0, count).boxed().toList(), "records, each once");
    }

    private void rebalance() throws Exception {
        String topic = Cluster.topic("consumer-group"), group = "g-" + topic;
        cluster.create(topic, PARTITIONS);
        produce(topic, 0, 60);
        List<Integer> got = new ArrayList<>();
        try (var first = member(group, "consumer"); var second = member(group, "consumer")) {
            first.subscribe(List.of(topic));
            poll(List.of(first), got, () -> got.size() == 60);
            second.subscribe(List.of(topic));
            poll(List.of(first, second), got, () -> shared(List.of(first, second)));
            produce(topic, 60, 120);
            poll(List.of(first, second), got, () -> got.size() == 120);
            var seen = cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Check.equal(List.of(seen.type(), seen.groupState(), seen.members().size()),
                    List.of(GroupType.CONSUMER, GroupState.STABLE, 2), "the group");
            leave(second);
            poll(List.of(first), got, () -> shared(List.of(first)));
        }
        produce(topic, 120, 150);
        try (var resumed = member(group, "consumer")) {
            resumed.subscribe(List.of(topic));
            poll(List.of(resumed), got, () -> got.size() == 150);
        }
        each(got, 150);
    }

    private void pattern() throws Exception {
        String begin = Cluster.topic("pattern");
        cluster.create(begin + "-a", PARTITIONS);
        List<Integer> got = new ArrayList<>();
        try (var one = member("g-" + begin, "consumer")) {
            one.subscribe(new SubscriptionPattern(begin + "-[ab]"));
            poll(List.of(one), got, () -> one.assignment().size() == PARTITIONS);
            cluster.create(begin + "-b", PARTITIONS);
            cluster.create(begin + "-c", PARTITIONS);
            produce(begin + "-b", 0, 60);
            poll(List.of(one), got, () -> got.size() == 60);
            Check.equal(one.assignment().size(), 2 * PARTITIONS, "partitions");
        }
        each(got, 60);
    }

    private void migration() throws Exception {
        String topic = Cluster.topic("migration"), group = "g-" + topic;
        cluster.create(topic, PARTITIONS);
        List<Integer> got = new ArrayList<>();
        int count = 0;
        try (var classic = member(group, "classic"); var consumer = member(group, "consumer")) {
            classic.subscribe(List.of(topic));
            poll(List.of(classic), got, () -> shared(List.of(classic)));
            consumer.subscribe(List.of(topic));
            for (var members : List.of(List.of(classic, consumer), List.of(classic))) {
                if (count > 0) {
                    leave(consumer);
                }
                poll(members, got, () -> shared(members));
                produce(topic, count, count + 60);
                int until = count += 60;
                poll(members, got, () -> got.size() == until);
            }
        }
        each(got, 120);
    }
}
