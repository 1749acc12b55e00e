import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.AppInfoParser;
import story.Story;

/** Every command line tool of Kafka that speaks to a broker and needs nothing but one: a row of the table of tools for each. */
public final class ToolStory {
    private static final String TOOLS = "org.apache.kafka.tools.";
    private final String bootstrap;
    private final String topic = "tools-" + ProcessHandle.current().pid() + "-" + System.currentTimeMillis() / 1000;
    private final String group = topic + "-group";

    private ToolStory(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        Tools.prepare();
        new ToolStory(args[0]).tell();
        System.out.println("done");
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private void tell() {
        row("kafka-topics.sh", "create, list, describe, alter, delete", this::topics);
        row("kafka-configs.sh", "a topic's settings: add, describe, delete", this::configs);
        row("kafka-console-producer.sh", "keys and values", this::consoleProducer);
        row("kafka-console-consumer.sh", "by group, then again: only what is new", this::consoleConsumer);
        row("kafka-consumer-groups.sh", "list, describe, members, state, reset, delete offsets, delete", this::consumerGroups);
        row("kafka-groups.sh", "list", this::groups);
        row("kafka-get-offsets.sh", "latest, earliest, by time", this::getOffsets);
        row("kafka-delete-records.sh", "up to an offset", this::deleteRecords);
        row("kafka-log-dirs.sh", "describe", this::logDirs);
        row("kafka-producer-perf-test.sh", "2,000 records", this::producerPerformance);
        row("kafka-consumer-perf-test.sh", "2,000 records", this::consumerPerformance);
        row("kafka-e2e-latency.sh", "100 records", this::latency);
        row("kafka-verifiable-producer.sh", "50 records, each acknowledged", this::verifiableProducer);
        row("kafka-verifiable-consumer.sh", "two members share four partitions", this::verifiableConsumers);
        row("kafka-broker-api-versions.sh", "", this::apiVersions);
        row("kafka-cluster.sh", "cluster-id, list-endpoints", this::cluster);
        row("kafka-leader-election.sh", "preferred, all partitions", this::leaderElection);
        row("kafka-reassign-partitions.sh", "list", this::reassignments);
        row("kafka-features.sh", "describe", this::features);
        row("kafka-metadata-quorum.sh", "status", this::quorum);
        row("kafka-transactions.sh", "list", this::transactions);
        row("kafka-client-metrics.sh", "list", this::clientMetrics);
    }

    private static void row(String tool, String what, Story.Test test) {
        String name = what.isEmpty() ? tool : tool + ": " + what;
        Story.cell("tools", name, AppInfoParser.getVersion(), "works", test);
    }

    private String run(String tool, String... arguments) throws Exception {
        String[] all = new String[arguments.length + 2];
        all[0] = "--bootstrap-server";
        all[1] = bootstrap;
        System.arraycopy(arguments, 0, all, 2, arguments.length);
        return Tools.run(tool.contains(".admin.") ? tool : TOOLS + tool, all);
    }

    private static void has(String text, String wanted) {
        Story.expect(Pattern.compile(wanted).matcher(text).find(), wanted + " is not in: " + text);
    }

    private void create(String name, int partitions) throws Exception {
        has(run("TopicCommand", "--create", "--topic", name, "--partitions", "" + partitions), "Created topic " + name);
    }

    private void topics() throws Exception {
        String other = topic + "-made";
        create(other, 3);
        Story.until("listed", () -> run("TopicCommand", "--list").contains(other));
        has(run("TopicCommand", "--describe", "--topic", other), "PartitionCount: 3");
        run("TopicCommand", "--alter", "--topic", other, "--partitions", "4");
        Story.until("four partitions", () -> run("TopicCommand", "--describe", "--topic", other).contains("PartitionCount: 4"));
        run("TopicCommand", "--delete", "--topic", other);
        Story.until("gone", () -> !run("TopicCommand", "--list").contains(other));
    }

    private void configs() throws Exception {
        create(topic, 1);
        String[] of = {"--entity-type", "topics", "--entity-name", topic};
        has(run("kafka.admin.ConfigCommand", with(of, "--alter", "--add-config", "retention.ms=1234567890")), "Completed updating");
        Story.until("described", () ->
                run("kafka.admin.ConfigCommand", with(of, "--describe")).contains("retention.ms=1234567890"));
        run("kafka.admin.ConfigCommand", with(of, "--alter", "--delete-config", "retention.ms"));
        Story.until("as it was", () ->
                run("kafka.admin.ConfigCommand", with(of, "--describe", "--all")).contains("retention.ms=604800000"));
    }

    private static String[] with(String[] first, String... second) {
        String[] all = java.util.Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, all, first.length, second.length);
        return all;
    }

    private void produce(String lines) throws Exception {
        Tools.feed(lines, TOOLS + "ConsoleProducer", "--bootstrap-server", bootstrap, "--topic", topic, "--property", "parse.key=true",
                "--property", "key.separator=:");
    }

    private void consoleProducer() throws Exception {
        produce("a:one\nb:two\nc:three\n");
        Story.until("three records", () -> run("GetOffsetShell", "--topic", topic).contains(topic + ":0:3"));
    }

    private String consume(int count) throws Exception {
        return run("consumer.ConsoleConsumer", "--topic", topic, "--group", group, "--from-beginning", "--max-messages", "" + count,
                "--timeout-ms", "20000", "--property", "print.key=true", "--property", "key.separator=:");
    }

    private void consoleConsumer() throws Exception {
        String first = consume(3);
        Story.expect(first.startsWith("a:one\nb:two\nc:three\n"), "it printed: " + first);
        produce("d:four\n");
        String second = consume(1);
        Story.expect(second.startsWith("d:four\n"), "it printed: " + second);
    }

    private String groupCommand(String... arguments) throws Exception {
        return run("consumer.group.ConsumerGroupCommand", arguments);
    }

    private void consumerGroups() throws Exception {
        has(groupCommand("--list"), Pattern.quote(group));
        has(groupCommand("--describe", "--group", group), topic + " +0 +4 +4 +0");
        groupCommand("--describe", "--group", group, "--members");
        has(groupCommand("--describe", "--group", group, "--state"), "Empty");
        String[] reset = {"--reset-offsets", "--group", group, "--topic", topic, "--to-earliest"};
        has(groupCommand(with(reset, "--dry-run")), topic + " +0 +0");
        has(groupCommand("--describe", "--group", group), topic + " +0 +4 +4 +0");
        has(groupCommand(with(reset, "--execute")), topic + " +0 +0");
        has(groupCommand("--describe", "--group", group), topic + " +0 +0 +4 +4");
        has(groupCommand("--delete-offsets", "--group", group, "--topic", topic), topic + " +0 +Successful");
        has(groupCommand(with(reset, "--execute")), topic + " +0 +0");
        has(groupCommand("--delete", "--group", group), "Deletion of requested consumer groups .* was successful");
    }

    private void groups() throws Exception {
        consume(1);
        has(run("GroupsCommand", "--list"), group + " +Classic +consumer");
    }

    private void getOffsets() throws Exception {
        has(run("GetOffsetShell", "--topic", topic, "--time", "latest"), topic + ":0:4");
        has(run("GetOffsetShell", "--topic", topic, "--time", "earliest"), topic + ":0:0");
        has(run("GetOffsetShell", "--topic", topic, "--time", "1000"), topic + ":0:0");
    }

    private void deleteRecords() throws Exception {
        Path wish = Files.createTempFile("delete", ".json");
        try {
            Files.writeString(wish, """
                    {"version": 1, "partitions": [{"topic": "%s", "partition": 0, "offset": 2}]}""".formatted(topic));
            has(run("DeleteRecordsCommand", "--offset-json-file", wish.toString()), "low_watermark: 2");
        } finally {
            Files.delete(wish);
        }
        has(run("GetOffsetShell", "--topic", topic, "--time", "earliest"), topic + ":0:2");
    }

    private void logDirs() throws Exception {
        has(run("LogDirsCommand", "--describe", "--topic-list", topic), "\"partition\":\"" + topic + "-0\",\"size\":[1-9]");
    }

    private void producerPerformance() throws Exception {
        create(topic + "-perf", 2);
        has(Tools.run(TOOLS + "ProducerPerformance", "--topic", topic + "-perf", "--num-records", "2000", "--record-size", "100",
                "--throughput", "-1", "--producer-props", "bootstrap.servers=" + bootstrap), "2000 records sent");
    }

    private void consumerPerformance() throws Exception {
        has(run("ConsumerPerformance", "--topic", topic + "-perf", "--messages", "2000", "--timeout", "20000"), ", 2000, ");
    }

    private void latency() throws Exception {
        create(topic + "-latency", 1);
        has(Tools.run(TOOLS + "EndToEndLatency", bootstrap, topic + "-latency", "100", "all", "20"), "Avg latency: ");
    }

    private void verifiableProducer() throws Exception {
        String name = topic + "-verified";
        create(name, 4);
        Story.until("leaders", () -> run("GetOffsetShell", "--topic", name).lines().filter(line -> line.endsWith(":0")).count() == 4);
        try (var producer = new Tools.Apart(TOOLS + "VerifiableProducer", "--bootstrap-server", bootstrap, "--topic", name,
                "--max-messages", "50", "--throughput", "1000")) {
            producer.end(false);
            has(producer.printed(), "\"sent\":50,\"acked\":50");
        }
    }

    private void verifiableConsumers() throws Exception {
        String[] member = {"--bootstrap-server", bootstrap, "--topic", topic + "-verified", "--group-id", group + "-verified",
            "--reset-policy", "earliest", "--session-timeout", "10000"};
        try (var first = new Tools.Apart(TOOLS + "VerifiableConsumer", member);
                var second = new Tools.Apart(TOOLS + "VerifiableConsumer", member)) {
            Story.until("all records", () -> total(first.printed()) + total(second.printed()) >= 50);
            Story.until("two partitions each", () -> two(first.printed()) && two(second.printed()));
            first.end(true);
            second.end(true);
            Story.expect(total(first.printed()) + total(second.printed()) == 50, first.printed() + second.printed());
            has(first.printed(), "shutdown_complete");
        }
    }

    /** How many records the events tell of. */
    private static int total(String events) {
        var count = Pattern.compile("\"count\":(\\d+)");
        return events.lines().filter(line -> line.contains("\"records_consumed\"")).mapToInt(line -> {
            var found = count.matcher(line);
            return found.find() ? Integer.parseInt(found.group(1)) : 0;
        }).sum();
    }

    /** Whether the last assignment is of two partitions. */
    private static boolean two(String events) {
        List<String> assigned = events.lines().filter(line -> line.contains("partitions_assigned")).toList();
        return !assigned.isEmpty() && assigned.get(assigned.size() - 1).split("\"partition\":").length == 3;
    }

    private void apiVersions() throws Exception {
        has(run("BrokerApiVersionsCommand"), "Produce\\(0\\): ");
    }

    private void cluster() throws Exception {
        has(Tools.run(TOOLS + "ClusterTool", "cluster-id", "--bootstrap-server", bootstrap), "Cluster ID: \\S+");
        String port = bootstrap.substring(bootstrap.indexOf(':') + 1);
        has(Tools.run(TOOLS + "ClusterTool", "list-endpoints", "--bootstrap-server", bootstrap), port);
    }

    private void leaderElection() throws Exception {
        run("LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions");
    }

    private void reassignments() throws Exception {
        has(run("reassign.ReassignPartitionsCommand", "--list"), "No partition reassignments found");
    }

    private void features() throws Exception {
        run("FeatureCommand", "describe");
    }

    private void quorum() throws Exception {
        has(run("MetadataQuorumCommand", "describe", "--status"), "LeaderId: +\\d+");
    }

    private void transactions() throws Exception {
        has(run("TransactionsCommand", "list"), "TransactionalId");
    }

    private void clientMetrics() throws Exception {
        run("ClientMetricsCommand", "--list");
    }
}
