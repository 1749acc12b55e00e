import java.util.Objects;

/**
 * Runs the checks of batches, times and fetches that Java's clients feel; arguments: the broker's address. The
 * environment's {@code SARAMA} names the program that produces with sarama.
 */
public final class Batches {
    private Batches() {}

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
        String bootstrap = args.length > 0 ? args[0] : "127.0.0.1:9092";
        String sarama = Objects.requireNonNull(System.getenv("SARAMA"), "SARAMA names no program");
        try (Cluster cluster = new Cluster(bootstrap)) {
            new TimeChecks(cluster, sarama).run();
            new TrimChecks(cluster).run();
            new BatchChecks(cluster).run();
            new FetchChecks(cluster).run();
        }
        System.out.println("done");
    }
}
