import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import org.apache.kafka.common.protocol.Errors;

/** Sends a batch as it is in a Produce request (version 8) over a connection of its own. */
final class RawProduce {
    /** The broker's answer for the one partition; {@code errors} counts the records it names (KIP-467). */
    record Answer(Errors error, long baseOffset, long logAppendTime, int errors, String message) {}

    private RawProduce() {}

    static Answer send(String bootstrap, String topic, byte[] batch) throws IOException {
        int colon = bootstrap.lastIndexOf(':');
        int port = Integer.parseInt(bootstrap.substring(colon + 1));
        try (Socket socket = new Socket(bootstrap.substring(0, colon), port)) {
            socket.setSoTimeout(20_000);
            byte[] request = request(topic, batch);
            var out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(request.length);
            out.write(request);
            out.flush();
            var in = new DataInputStream(socket.getInputStream());
            byte[] answer = new byte[in.readInt()];
            in.readFully(answer);
            return answer(ByteBuffer.wrap(answer));
        }
    }

    private static byte[] request(String topic, byte[] batch) throws IOException {
        var bytes = new ByteArrayOutputStream();
        var out = new DataOutputStream(bytes);
        out.writeShort(0); // Produce
        out.writeShort(8);
        out.writeInt(1); // correlation id
        out.writeUTF("raw");
        out.writeShort(-1); // no transactional id
        out.writeShort(-1); // acks=all
        out.writeInt(10_000);
        out.writeInt(1); // topics
        out.writeUTF(topic);
        out.writeInt(1); // partitions
        out.writeInt(0);
        out.writeInt(batch.length);
        out.write(batch);
        return bytes.toByteArray();
    }

    private static Answer answer(ByteBuffer in) {
        in.getInt(); // correlation id
        in.getInt(); // topics
        text(in);
        in.getInt(); // partitions
        in.getInt();
        Errors error = Errors.forCode(in.getShort());
        long base = in.getLong();
        long time = in.getLong();
        in.getLong(); // log start offset
        int errors = in.getInt();
        for (int i = 0; i < errors; i++) {
            in.getInt();
            text(in);
        }
        return new Answer(error, base, time, errors, text(in));
    }

    private static String text(ByteBuffer in) {
        short length = in.getShort();
        if (length < 0) {
            return null;
        }
        byte[] text = new byte[length];
        in.get(text);
        return new String(text);
    }
}
