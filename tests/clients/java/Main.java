/** Runs every check of the Java client; the first argument is the broker's address. */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        String bootstrap = args.length > 0 ? args[0] : "127.0.0.1:9092";
        try (Cluster cluster = new Cluster(bootstrap)) {
            new AdminChecks(cluster).run();
            new RoundTrips(cluster).run();
            new OffsetChecks(cluster).run();
            new CommittedOffsetChecks(cluster).run();
        }
        System.out.println("done");
    }
}
