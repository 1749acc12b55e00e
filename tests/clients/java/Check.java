import java.util.Objects;
import java.util.concurrent.ExecutionException;

/** Runs checks and prints a line for each. */
final class Check {
    private Check() {}

    interface Body {
        void run() throws Exception;
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void check(String name, Body body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (Throwable cause) {
            String where = "";
            for (StackTraceElement at : cause.getStackTrace()) {
                if (at.getFileName() != null && !at.getClassName().contains(".") && !at.getClassName().equals("Check")) {
                    where = " (" + at.getFileName() + ":" + at.getLineNumber() + ")";
                    break;
                }
            }
            String text = String.valueOf(cause).replace('\n', ' ');
            System.out.println("not ok " + name + ": " + text.substring(0, Math.min(400, text.length())) + where);
        }
    }

    static void expect(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object got, Object wanted, String what) {
        if (!Objects.deepEquals(got, wanted)) {
            throw new AssertionError(what + ": got " + brief(got) + ", wanted " + brief(wanted));
        }
    }

    /** The body must fail with this error, itself or as the cause of an ExecutionException. */
    static <E extends Throwable> E raises(Class<E> kind, String what, Body body) throws Exception {
        try {
            body.run();
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            if (kind.isInstance(cause)) {
                return kind.cast(cause);
            }
            throw new AssertionError(what + ": got " + brief(cause) + ", wanted " + kind.getSimpleName());
        }
        throw new AssertionError(what + ": no error, wanted " + kind.getSimpleName());
    }

    static void waitFor(String what, int seconds, Condition condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.holds()) {
            expect(System.nanoTime() < end, what + ": not within " + seconds + " s");
            Thread.sleep(100);
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(160, text.length()));
    }
}
