import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own command line tools, their main methods in this process: each would need a second or two for a process of its own. What a
 * tool prints is kept, how it ends is caught, and what it would do at the end of its process is kept to be done when a test says so.
 */
final class Tools {
    /** How a tool ended, in place of the end of the process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;
        final int code;

        Ended(int code, String message) {
            super("ended with code " + code + (message == null ? "" : ": " + message));
            this.code = code;
        }
    }

    /** Where standard output goes; Scala's print keeps the stream that it has seen first, so the stream stays and its target moves. */
    private static final class Switch extends OutputStream {
        private volatile OutputStream target;

        @Override
        public void write(int b) throws java.io.IOException {
            target.write(b);
        }

        @Override
        public void write(byte[] bytes, int from, int count) throws java.io.IOException {
            target.write(bytes, from, count);
        }
    }

    private static final Switch OUT = new Switch();
    private static final PrintStream REAL = System.out;
    /** The first way in which a tool ended: some take what is thrown for a failure, and end once more. */
    private static final ThreadLocal<Ended> FIRST = new ThreadLocal<>();
    private static final List<Runnable> HOOKS = new CopyOnWriteArrayList<>();

    private Tools() {}

    /** Must come before any class of Kafka is loaded. */
    static void prepare() {
        OUT.target = REAL;
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        Exit.Procedure procedure = (code, message) -> {
            if (FIRST.get() == null) {
                FIRST.set(new Ended(code, message));
            }
            throw FIRST.get();
        };
        Exit.setExitProcedure(procedure);
        Exit.setHaltProcedure(procedure);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
    }

    /** A tool that runs in a thread of its own. */
    private static final class Running {
        private final Thread thread;
        private volatile Throwable failed;

        private Running(String tool, String... arguments) {
            thread = new Thread(() -> {
                try {
                    Method main = Class.forName(tool).getMethod("main", String[].class);
                    main.invoke(null, (Object) arguments);
                } catch (InvocationTargetException cause) {
                    boolean well = cause.getCause() instanceof Ended ended && ended.code == 0;
                    failed = well ? null : cause.getCause();
                } catch (ReflectiveOperationException cause) {
                    failed = cause;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        void end() throws Exception {
            thread.join(60_000);
            if (thread.isAlive()) {
                throw new AssertionError("the tool does not end within 60 s");
            }
        }
    }

    /** A tool in a process of its own, for those that do their last work when it is asked to end. */
    static final class Apart implements AutoCloseable {
        private final Path file;
        private final Process process;

        Apart(String tool, String... arguments) throws Exception {
            file = Files.createTempFile("tool", ".out");
            List<String> command = new ArrayList<>(List.of("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", System.getProperty("java.class.path"), tool));
            command.addAll(List.of(arguments));
            process = new ProcessBuilder(command).redirectOutput(file.toFile()).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        }

        String printed() throws Exception {
            return Files.readString(file);
        }

        /** Waits for its end, or asks for it. */
        void end(boolean ask) throws Exception {
            if (ask) {
                process.destroy();
            }
            if (!process.waitFor(30, TimeUnit.SECONDS)) {
                throw new AssertionError("the tool does not end within 30 s");
            }
        }

        @Override
        public void close() throws Exception {
            process.destroyForcibly();
            Files.deleteIfExists(file);
        }
    }

    static String run(String tool, String... arguments) throws Exception {
        return feed("", tool, arguments);
    }

    /** Runs a tool with a standard input to its end; what it printed. */
    static String feed(String input, String tool, String... arguments) throws Exception {
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        var out = new ByteArrayOutputStream();
        OUT.target = out;
        Running running = new Running(tool, arguments);
        try {
            running.end();
            System.out.flush();
        } finally {
            OUT.target = REAL;
        }
        // Producers close, and so send what waits, when their process ends.
        List.copyOf(HOOKS).forEach(Runnable::run);
        HOOKS.clear();
        String text = out.toString(StandardCharsets.UTF_8);
        if (running.failed != null) {
            throw new AssertionError(running.failed + "; it printed: " + text);
        }
        return text;
    }
}
