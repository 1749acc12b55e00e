import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Objects;

/** Runs the test of a cell of docs/compatibility.md and prints its verdict. */
record Cell(String client, String version) {
    interface Body {
        void run() throws Exception;
    }

    void is(String feature, Body body) {
        try {
            body.run();
            print(feature, "yes", "");
        } catch (Throwable cause) {
            StringWriter text = new StringWriter();
            cause.printStackTrace(new PrintWriter(text));
            String why = text.toString().replaceAll("[^ -~]+", " ").replace("\\", "/").replace("\"", "'");
            print(feature, "no", ", \"why\": \"" + why.substring(0, Math.min(400, why.length())) + "\"");
        }
    }

    /** The client has no such feature. */
    void lacks(String feature) {
        print(feature, "none", "");
    }

    private void print(String feature, String result, String why) {
        System.out.printf("cell {\"section\": \"kinesis\", \"client\": \"%s\", \"version\": \"%s\", \"feature\": \"%s\", \"result\": \"%s\"%s}%n",
                client, version, feature, result, why);
    }

    static void equal(Object got, Object wanted, String what) {
        if (!Objects.deepEquals(got, wanted)) {
            throw new AssertionError(what + ": got " + brief(got) + ", wanted " + brief(wanted));
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(160, text.length()));
    }
}
