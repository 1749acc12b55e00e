import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;

/**
 * Batches that are not what they say: a consumer must get past every batch that a broker has taken, and see each
 * record as it was sent. What cannot be read must not be stored.
 */
final class BatchChecks {
    private static final long EPOCH_MS = Cluster.EPOCH_MS;
    private static final List<String> CODECS = RawBatch.CODECS;
    private final Cluster cluster;

    BatchChecks(Cluster cluster) {
        this.cluster = cluster;
    }

    void run() {
        for (String codec : CODECS) {
            Check.check("good batches by hand pass, " + codec, () -> good(codec));
            Check.check("a record header with a null key, " + codec, () -> refused(codec, nullHeaderKey()));
        }
        for (String codec : CODECS) {
            Check.check("garbage in place of records, " + codec, () -> refused(codec, sound().garbage()));
            Check.check("fewer records than the header counts, " + codec, () -> refused(codec, sound().countError(4)));
            Check.check("more records than the header counts, " + codec, () -> refused(codec, sound().countError(-1)));
            Check.check("bytes after the last record, " + codec, () -> refused(codec, sound().trailing(9)));
            Check.check("attribute bit 3 from a client changes no time, " + codec, () -> appendTimeBit(codec));
        }
        Check.check("the producer is told which record was refused (KIP-467)", this::recordErrors);
        Check.check("a record of tomorrow is refused by default", this::tomorrow);
    }

    private static RawBatch sound() {
        var batch = new RawBatch();
        for (int i = 0; i < 3; i++) {
            batch.record(EPOCH_MS + i * 1000L, "key", "value " + i);
        }
        return batch;
    }

    private static RawBatch nullHeaderKey() {
        return new RawBatch().recordWithNullHeaderKey(EPOCH_MS, "poison");
    }

    private void good(String codec) throws Exception {
        String name = Cluster.topic("raw-" + codec);
        cluster.create(name, 1);
        var answer = RawProduce.send(cluster.bootstrap, name, sound().codec(codec).build());
        Check.equal(answer.error(), Errors.NONE, "error");
        Check.equal(answer.baseOffset(), 0L, "base offset");
        Check.equal(answer.logAppendTime(), -1L, "log append time");
        var rows = cluster.readAll(name, 1, Map.of()).get(0);
        Check.equal(rows.size(), 3, "records");
        for (int i = 0; i < 3; i++) {
            Check.equal(new String(rows.get(i).value()), "value " + i, "value");
            Check.equal(rows.get(i).timestamp(), EPOCH_MS + i * 1000L, "time");
        }
    }

    /** A record before, the bad batch, a record after: the consumer must read exactly the two good ones. */
    private void refused(String codec, RawBatch bad) throws Exception {
        String name = Cluster.topic("bad-" + codec + "-" + System.nanoTime());
        cluster.create(name, 1);
        cluster.produce(List.of(new ProducerRecord<>(name, "before".getBytes())), Map.of());
        var answer = RawProduce.send(cluster.bootstrap, name, bad.codec(codec).build());
        cluster.produce(List.of(new ProducerRecord<>(name, "after".getBytes())), Map.of());
        String told = "answered with " + answer.error();
        List<String> read = new ArrayList<>();
        try {
            for (ConsumerRecord<byte[], byte[]> row : cluster.readAll(name, 1, Map.of(), 8).get(0)) {
                read.add(row.offset() + " " + new String(row.value()));
            }
        } catch (Exception | AssertionError cause) {
            throw new AssertionError(told + ", and the consumer is stuck: " + cause, cause);
        }
        Check.equal(read, List.of("0 before", "1 after"), told + "; records read");
        Check.expect(answer.error() != Errors.NONE, "it was taken");
        Check.expect(refusals().contains(answer.error()), told);
    }

    /** INVALID_RECORD; Apache Kafka says UNKNOWN_SERVER_ERROR where a codec fails, which no client repeats either. */
    private static List<Errors> refusals() {
        return List.of(Errors.INVALID_RECORD, Errors.UNKNOWN_SERVER_ERROR);
    }

    private void appendTimeBit(String codec) throws Exception {
        String name = Cluster.topic("bit3-" + codec);
        cluster.create(name, 1);
        var answer = RawProduce.send(cluster.bootstrap, name, sound().codec(codec).logAppendTimeBit().build());
        Check.equal(answer.error(), Errors.NONE, "error");
        var rows = cluster.readAll(name, 1, Map.of()).get(0);
        Check.equal(rows.size(), 3, "records");
        for (int i = 0; i < 3; i++) {
            Check.equal(rows.get(i).timestamp(), EPOCH_MS + i * 1000L, "time of record " + i);
            Check.equal(rows.get(i).timestampType(), TimestampType.CREATE_TIME, "type of record " + i);
        }
    }

    private void recordErrors() throws Exception {
        String name = Cluster.topic("record-errors");
        cluster.create(name, 1, Map.of("cleanup.policy", "compact"));
        var waiting = new ArrayList<java.util.concurrent.Future<RecordMetadata>>();
        try (KafkaProducer<byte[], byte[]> producer = cluster.producer(Map.of("linger.ms", "1000"))) {
            for (int i = 0; i < 5; i++) {
                byte[] key = i == 3 ? null : ("key" + i).getBytes();
                waiting.add(producer.send(new ProducerRecord<>(name, 0, key, "value".getBytes())));
            }
        }
        for (int i = 0; i < 5; i++) {
            var one = waiting.get(i);
            var cause = Check.raises(org.apache.kafka.common.KafkaException.class, "record " + i, one::get);
            boolean blamed = cause instanceof InvalidRecordException;
            Check.equal(blamed, i == 3, "record " + i + " is the bad one (" + cause + ")");
        }
        try (KafkaConsumer<byte[], byte[]> consumer = cluster.consumer(Map.of())) {
            var places = Cluster.places(name, 1);
            Check.equal(consumer.endOffsets(places).get(places.get(0)), 0L, "end: nothing of the batch is stored");
        }
    }

    private void tomorrow() throws Exception {
        String name = Cluster.topic("tomorrow");
        cluster.create(name, 1);
        long now = System.currentTimeMillis();
        Check.raises(InvalidTimestampException.class, "tomorrow", () -> cluster.produce(
                List.of(new ProducerRecord<>(name, 0, now + 86_400_000, null, "v".getBytes())), Map.of()));
        var soon = List.of(new ProducerRecord<byte[], byte[]>(name, 0, now + 1_800_000, null, "v".getBytes()));
        Check.equal(cluster.produce(soon, Map.of()).get(0).offset(), 0L, "offset of a record half an hour ahead");
    }
}
