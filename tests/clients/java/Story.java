package story;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What every client is asked to do, as ../story.py tells it, for clients of Java. Needs nothing but the JDK, so that clients with
 * other versions of Kafka's library are compiled with it.
 */
public final class Story {
    public static final int PARTITIONS = 4;
    public static final int HEARTBEAT_MS = 300;
    public static final int SESSION_MS = 10_000;
    private static final String RUN = ProcessHandle.current().pid() + "-" + System.currentTimeMillis() / 1000;

    public interface Client {
        void create(String topic, int partitions) throws Exception;

        void produce(String topic, List<Integer> values) throws Exception;

        /** A topic's life: made, listed, described with partitions and settings, deleted. */
        void admin(String topic) throws Exception;

        Member join(String topic, String group) throws Exception;
    }

    /** A member of a group; its client calls `read` and `assigned` from any thread. */
    public abstract static class Member {
        private final List<Integer> values = new ArrayList<>();
        private int partitions;
        private Throwable failed;

        public abstract void commit() throws Exception;

        public abstract void leave() throws Exception;

        public final synchronized void read(int value) {
            values.add(value);
        }

        public final synchronized void assigned(int count) {
            partitions = count;
        }

        public final synchronized void fail(Throwable cause) {
            failed = cause;
        }

        final synchronized List<Integer> values() throws Exception {
            if (failed != null) {
                throw new Exception(failed);
            }
            return List.copyOf(values);
        }

        final synchronized int partitions() {
            return partitions;
        }
    }

    public interface Condition {
        boolean holds() throws Exception;
    }

    public interface Test {
        void run() throws Exception;
    }

    private final Client client;
    private final String topic;
    private final String group;
    private Member first;

    private Story(String name, Client client) {
        this.client = client;
        this.topic = "story-" + name.toLowerCase().replaceAll("[^a-z0-9]+", "-") + "-" + RUN;
        this.group = topic + "-group";
    }

    public static void expect(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    public static void until(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + 30_000_000_000L;
        while (!condition.holds()) {
            expect(System.nanoTime() < end, "not within 30 s: " + what);
            Thread.sleep(20);
        }
    }

    private static List<Integer> range(int from, int to) {
        return IntStream.range(from, to).boxed().toList();
    }

    private static void untilRead(List<Integer> wanted, int skip, Member... members) throws Exception {
        List<Integer> got = new ArrayList<>();
        until(wanted.size() + " records", () -> {
            got.clear();
            for (Member member : members) {
                got.addAll(member.values());
            }
            return got.size() >= skip + wanted.size();
        });
        List<Integer> rest = got.subList(skip, got.size()).stream().sorted().toList();
        expect(rest.equals(wanted), "got " + rest + ", wanted " + wanted);
    }

    private static void untilAssigned(int count, Member... members) throws Exception {
        until(count + " partitions each", () -> {
            for (Member member : members) {
                if (member.partitions() != count) {
                    return false;
                }
            }
            return true;
        });
    }

    private void produce() throws Exception {
        client.create(topic, PARTITIONS);
        client.produce(topic, range(0, 100));
    }

    private void consume() throws Exception {
        first = client.join(topic, group);
        untilRead(range(0, 100), 0, first);
        untilAssigned(PARTITIONS, first);
    }

    private void rebalance() throws Exception {
        first.commit();
        Member second = client.join(topic, group);
        untilAssigned(PARTITIONS / 2, first, second);
        client.produce(topic, range(100, 200));
        untilRead(range(0, 200), 0, first, second);
        expect(!second.values().isEmpty(), "the second member reads nothing");
        first.commit();
        second.commit();
        second.leave();
        untilAssigned(PARTITIONS, first);
    }

    private void resume() throws Exception {
        int read = first.values().size();
        client.produce(topic, range(200, 220));
        untilRead(range(200, 220), read, first);
        first.commit();
        first.leave();
        client.produce(topic, range(220, 240));
        Member third = client.join(topic, group);
        untilRead(range(220, 240), 0, third);
        third.leave();
    }

    private static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + '"';
    }

    /** Runs the test of a cell and prints its verdict. */
    public static void cell(String section, String name, String version, String feature, Test test) {
        String result = "yes";
        String why = "";
        try {
            test.run();
        } catch (Throwable cause) {
            result = "no";
            String text = String.valueOf(cause);
            why = ", \"why\": " + quoted(text.substring(0, Math.min(400, text.length())));
        }
        System.out.printf("cell {\"section\": %s, \"client\": %s, \"version\": %s, \"feature\": %s, \"result\": %s%s}%n",
                quoted(section), quoted(name), quoted(version), quoted(feature), quoted(result), why);
        System.out.flush();
    }

    /** All cells of a client. */
    public static void tell(String name, String version, Client client) {
        Story story = new Story(name, client);
        cell("kafka", name, version, "admin", () -> client.admin(story.topic + "-admin"));
        cell("kafka", name, version, "produce", story::produce);
        cell("kafka", name, version, "consume by group", story::consume);
        cell("kafka", name, version, "rebalance", story::rebalance);
        cell("kafka", name, version, "commit and resume", story::resume);
        System.out.println("done");
        System.out.flush();
    }
}
