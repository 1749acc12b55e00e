import com.github.luben.zstd.ZstdOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import java.util.zip.GZIPOutputStream;
import net.jpountz.lz4.LZ4FrameOutputStream;
import org.xerial.snappy.SnappyOutputStream;

/**
 * A record batch (magic 2) written by hand, so that its header can say what is not so. The checksum is always right:
 * what is wrong with a batch is wrong in what it says, and was not damaged on its way.
 */
final class RawBatch {
    /** The codecs; the place of each is its number in the attributes. */
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private final List<Long> times = new ArrayList<>();
    private final ByteArrayOutputStream records = new ByteArrayOutputStream();
    private String codec = "none";
    private int attributes;
    private Long maxTimestamp;
    private int countError;
    private byte[] garbage;

    /** A record with a key, a value and a time. */
    RawBatch record(long time, String key, String value) {
        return add(time, key, value, 0, new byte[0]);
    }

    /** A record with one header whose key is null, which the format does not allow. */
    RawBatch recordWithNullHeaderKey(long time, String value) {
        return add(time, "key", value, 1, new byte[] {1 /* -1 in zigzag */, 2 /* 1 */, 'v'});
    }

    private RawBatch add(long time, String key, String value, int headers, byte[] headerBytes) {
        long first = times.isEmpty() ? time : times.get(0);
        var body = new ByteArrayOutputStream();
        body.write(0);
        varint(body, time - first);
        varint(body, times.size());
        bytes(body, key);
        bytes(body, value);
        varint(body, headers);
        body.writeBytes(headerBytes);
        varint(records, body.size());
        records.writeBytes(body.toByteArray());
        times.add(time);
        return this;
    }

    RawBatch codec(String name) {
        codec = name;
        return this;
    }

    /** What the header says is the highest time, whatever the records say. */
    RawBatch maxTimestamp(long stated) {
        maxTimestamp = stated;
        return this;
    }

    /** Sets attribute bit 3: "the broker put its own time into the maximum timestamp". */
    RawBatch logAppendTimeBit() {
        attributes |= 8;
        return this;
    }

    /** The header counts so many records more than there are. */
    RawBatch countError(int more) {
        countError = more;
        return this;
    }

    /** Bytes after the last record, inside of what is compressed. */
    RawBatch trailing(int count) {
        records.writeBytes(new byte[count]);
        return this;
    }

    /** Instead of records these bytes, which no codec understands. */
    RawBatch garbage() {
        garbage = "these bytes were never compressed by anybody".getBytes();
        return this;
    }

    byte[] build() throws IOException {
        byte[] payload = garbage != null ? garbage : compressed();
        int count = times.size() + countError;
        ByteBuffer batch = ByteBuffer.allocate(61 + payload.length);
        batch.putLong(0).putInt(49 + payload.length).putInt(-1).put((byte) 2).putInt(0);
        batch.putShort((short) (attributes | CODECS.indexOf(codec))).putInt(count - 1).putLong(times.get(0));
        long highest = times.stream().mapToLong(Long::longValue).max().orElseThrow();
        batch.putLong(maxTimestamp == null ? highest : maxTimestamp);
        batch.putLong(-1).putShort((short) -1).putInt(-1).putInt(count).put(payload);
        CRC32C crc = new CRC32C();
        crc.update(batch.array(), 21, batch.capacity() - 21);
        batch.putInt(17, (int) crc.getValue());
        return batch.array();
    }

    private byte[] compressed() throws IOException {
        var target = new ByteArrayOutputStream();
        try (OutputStream stream = compressor(target)) {
            records.writeTo(stream);
        }
        return target.toByteArray();
    }

    private OutputStream compressor(ByteArrayOutputStream target) throws IOException {
        return switch (codec) {
            case "none" -> target;
            case "gzip" -> new GZIPOutputStream(target);
            case "snappy" -> new SnappyOutputStream(target);
            case "lz4" -> new LZ4FrameOutputStream(target);
            case "zstd" -> new ZstdOutputStream(target);
            default -> throw new IllegalArgumentException(codec);
        };
    }

    private static void bytes(ByteArrayOutputStream out, String text) {
        if (text == null) {
            varint(out, -1);
            return;
        }
        varint(out, text.getBytes().length);
        out.writeBytes(text.getBytes());
    }

    private static void varint(ByteArrayOutputStream out, long number) {
        long rest = (number << 1) ^ (number >> 63);
        while ((rest & ~0x7fL) != 0) {
            out.write((int) (rest & 0x7f | 0x80));
            rest >>>= 7;
        }
        out.write((int) rest);
    }
}
