"""The differences that are meant, each with its reason.

A row: the case, the place in its trace, Keylane's answer, Kafka's answer, the reason. In the first four * stands
for anything and | for "or". The first row that fits counts. A row that nothing fits any more fails the run: take
it out. What people ask for most stands in docs/kafka-differences.md too.
"""

from compare import ABSENT, Known

KNOWN = []


def known(case, where, keylane, kafka, reason):
    KNOWN.append(Known(case, where, keylane, kafka, reason))


def refused(case, keylane, kafka, reason):
    """A batch that one of the two refuses, and what follows from that: what is stored, and where."""
    known(case, "*Produce*/ErrorCode", keylane, kafka, reason)
    known(case, "*Produce*/BaseOffset|*Produce*/ErrorMessage|*Produce*/LogStartOffset|*Produce*/RecordErrors*"
                "|*/HighWatermark|*/LastStableOffset|*/Records/*", "*", "*", f"follows: {reason}")


# Produce.
refused("produce/record/delta-*|produce/*/wrong-delta", "INVALID_RECORD", "NONE|UNKNOWN_SERVER_ERROR",
        "Offset deltas out of order are refused: consumers expect offsets that rise. Kafka takes them, or fails at them.")
refused("produce/record/size-*-gzip", "INVALID_RECORD", "NONE",
        "The size of a record has to be its size inside compressed batches too. Kafka looks at it only where it stores the record as it is.")
refused("produce/record/*-size-minus-two*", "INVALID_RECORD", "NONE",
        "Null is a length of -1. Kafka takes every negative length for null, which not all clients can read.")
refused("produce/gzip/bytes-after|produce/gzip/garbage-after|produce/snappy/bytes-after|produce/snappy/two-frames|produce/lz4/*-after",
        "INVALID_RECORD", "NONE", "Nothing may follow the compressed records of a batch. Kafka stops reading after the last record.")
refused("produce/shape/a-batch-and-*", "INVALID_RECORD", "NONE",
        "A request holds one whole batch for a partition, and nothing after it. Kafka drops what is less than a batch, unseen.")
refused("idempotence/negative-epoch", "INVALID_RECORD", "NONE",
        "A producer id goes with an epoch of 0 or more. Kafka stores the batch and checks nothing of it.")
refused("produce/transactional-id", "INVALID_TXN_STATE", "NONE", "Transactions are not served: what names one is refused.")
refused("produce/header/first-time-lowest", "NONE", "INVALID_TIMESTAMP",
        "There is no lower bound for timestamps by default. In Kafka's reckoning the lowest of all overflows.")
known("produce/header/transactional*|idempotence/transactional-batch", "*/ErrorCode", "INVALID_TXN_STATE|INVALID_RECORD",
      "TRANSACTIONAL_ID_AUTHORIZATION_FAILED|NOT_ENOUGH_REPLICAS", "Transactions are not served.")
known("produce/*|idempotence/*", "*Produce*/ErrorCode", "INVALID_RECORD|CORRUPT_MESSAGE|UNSUPPORTED_COMPRESSION_TYPE", "UNKNOWN_SERVER_ERROR",
      "A compressed stream or a number that cannot be read is the client's fault, and is called so. Kafka's own reader fails at it.")
known("produce/header/magic-*|produce/header/size-*|produce/shape/zeros", "*Produce*/ErrorCode", "INVALID_RECORD", "CORRUPT_MESSAGE",
      "What is no batch stays none when it is sent again. CORRUPT_MESSAGE, which clients retry, is for a checksum that does not match.")
known("produce/*", "*Produce*/RecordErrors/*", '{"BatchIndex": *', ABSENT, "The answer says which record is wrong (KIP-467) where Kafka does not.")
known("produce/*", "*Produce*/RecordErrors/*", ABSENT, '{"BatchIndex": *', "The answer names the first record that is wrong. Kafka looks for more of them.")
known("produce/header/log-append-time-bit-and-max*", "*/max_time", "T+3", "T+9",
      "The bit is taken away and the largest timestamp is that of the records. Kafka takes the header's for that of every record.")
known("produce/header/delete-horizon-bit", "*/attributes", "0", "64", "Only compaction sets the bit. Kafka keeps it, and reads the first timestamp as a time to delete tombstones.")
known("produce/*|idempotence/*", "*Produce*/LogStartOffset", "-1", "*",
      "A batch that is refused has no log start offset in its answer. Kafka has it with some errors and not with others.")
known("produce/log-append-time/duplicate", "*Produce*/LogAppendTimeMs", "-1", "now",
      "The time that the first of two equal batches got is not remembered: the answer to the second says that it is not known.")
known("produce/*|idempotence/*", "*Produce*/LogAppendTimeMs", "-1", "T+*",
      "A duplicate on a topic with CreateTime: the field says 'not set' as it does for every other batch of such a topic.")
known("idempotence/sixth-last-duplicate", "*/ErrorCode", "NONE", "OUT_OF_ORDER_SEQUENCE_NUMBER",
      "A duplicate of a batch older than the last five is answered with its first offset: it is stored.")
known("idempotence/sixth-last-duplicate", "*/BaseOffset", "1", "-1", "As above: the first offset of the duplicate.")
known("idempotence/transactional-batch", "*/ErrorMessage", "null", "a text", "Transactions are not served.")
known("produce/shape/null", "1 Produce*", "*INVALID_RECORD*", "no answer",
      "A partition without records is refused. Kafka does not answer, and the client waits until its time is over.")

known("produce/acks/2-unknown-partition", "*/ErrorCode", "INVALID_REQUIRED_ACKS", "UNKNOWN_TOPIC_OR_PARTITION",
      "Both acks and the partition are wrong: acks are looked at first.")
known("produce/twice/*", "*", "*", "*",
      "A partition or topic that is named twice is stored and answered twice. Of a partition's two batches Kafka stores the last. No client sends that.")

# Fetch.
known("fetch/*|delete-records/*", "*Fetch*/HighWatermark|*Fetch*/LogStartOffset", "*", "-1",
      "OFFSET_OUT_OF_RANGE carries the high watermark and the log start offset: the client can go on without asking for them.")
known("*", "*Fetch*/AbortedTransactions", "null", "[]", "There are no aborted transactions. Kafka says so with null or with an empty list.")
known("fetch/*", "*Fetch*/Records/*", ABSENT, '{"cut": *',
      "Records end with a whole batch. Kafka cuts the last one where the limit falls, and the client drops it.")
known("fetch/twice|delete-records/twice", "*a partition twice*", "*", "*",
      "A partition that is named twice is answered twice; Kafka takes the last. No client sends that.")
known("fetch/sessions/deleted-topic-v13", "*/ErrorCode", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION",
      "A topic that a session has by id, and that was deleted, is answered as without a session. Kafka remembers its name.")
known("fetch/sessions/not-there-v13", "*a new session/Responses", "*", "*",
      "Partitions are answered in the order of the request. Kafka answers those that are not there first, and the topic twice.")
known("fetch/last-epoch-1", "*/Partitions/0/*", "*", "*",
      "There is one node and one leader epoch, 0: an epoch above it that a client has read is not looked for. Kafka: OFFSET_OUT_OF_RANGE.")
known("fetch/replica", "*replica*/Partitions/0/*", "*", "*",
      "There are no replicas: one that says it is is answered as a consumer. Kafka: NOT_LEADER_OR_FOLLOWER.")
known("fetch/limits", "*limit -1/*|*limit -1, limit 100/*", "*", "*", "A negative limit counts as 0. Kafka: UNKNOWN_SERVER_ERROR.")
known("fetch/isolation-levels|list-offsets/isolation-levels", "*level 2*|*level -1*", "*", "*",
      "An isolation level that does not exist is taken for read_uncommitted. Kafka: UNKNOWN_SERVER_ERROR.")

# ListOffsets.
known("list-offsets/after-*", "*at -3/*/Timestamp|*at -3/*/Offset|*at -3/*/LeaderEpoch", "-1", "T+2020|8|0",
      "The largest timestamp is that of the records that are there. Kafka names a record that was deleted.")

# Topics.
known("metadata/ids-v10|metadata/ids-v11|metadata/ids-v12|metadata/ids-v13", "*/Brokers/0|*/ClusterId|*/ControllerId", "*", f"{ABSENT}|null|-1",
      "A refused request for topics is answered with the broker all the same. Kafka leaves it out.")
known("metadata/ids-v12|metadata/ids-v13", "*without name and id/Topics/*", "*UNKNOWN_TOPIC_ID*|" + ABSENT, "*UNKNOWN_SERVER_ERROR*|" + ABSENT,
      "A topic asked for by neither name nor id is unknown. Kafka's own code fails at it.")
known("metadata/ids-v13", "*without name and id/ErrorCode", "NONE", "UNKNOWN_SERVER_ERROR", "As above.")
known("metadata/auto-creation", "*/ErrorCode|*/Partitions/0", "NONE|{*", f"UNKNOWN_TOPIC_OR_PARTITION|{ABSENT}",
      "A topic made on demand is there when it is answered. Kafka answers an error first.")
known("create-topics/names", "*__consumer_offsets*", "*", "*",
      "Only the server makes and changes __consumer_offsets. Kafka lets clients create it.")
known("create-topics/names-that-collide", "*two that collide*", "*", "*",
      "Of two names that collide in one request the second is refused, as in two requests. Kafka creates both.")
known("create-topics/partition-counts", "*", "*", "*POLICY_VIOLATION*|no id|a text|-1|TOPIC_ALREADY_EXISTS",
      "A topic may get up to 100,000 partitions in one request. Kafka's bound is that of one batch of its metadata log: 10,000.")
known("create-partitions/very-many", "*/ErrorCode", "NONE", "UNKNOWN_SERVER_ERROR", "As above; Kafka's own code fails at it.")
known("create-topics/time-out", "*", "*", "*", "A change is made at once, whatever the time limit. Kafka: REQUEST_TIMED_OUT.")

# Settings.
known("create-topics/*|settings/flush.*|describe-configs/*", "*Configs/flush.m*", "*", "*9223372036854775807*",
      "Every record is on the disk before it is acknowledged: that is the default shown.")
known("create-topics/*|settings/min.insync.replicas|describe-configs/*", "*Configs/min.insync.replicas/*", "*", "*",
      "A Kafka that is set up with KRaft has an entry of its own for the whole cluster, with the value that is the default.")
known("create-topics/*|settings/segment.bytes|describe-configs/*", "*segment.bytes*", "134217728", "1073741824",
      "A commit segment has 128 MiB if --segment-bytes says nothing else.")
known("settings/cleanup.policy|settings/delete.retention.ms*|settings/preallocate*|settings/min.cleanable.dirty.ratio*",
      "*/Value", "*", "*", "A value is shown as it was given. Kafka shows what it made of it: without spaces, 0.0 for 0, true for TRUE.")
known("settings/max.message.bytes*", "*2147483*|*after 'x'*|*after delete*", "*", "*",
      "A batch has to fit into a request and a segment; a higher limit is refused.")
known("settings/min.cleanable.dirty.ratio*", "*NaN*", "*", "*", "A ratio is a number from 0 to 1. Kafka takes NaN.")
known("describe-configs/resources", "*kind 16*|*kind 32*", "INVALID_REQUEST|a text", "NONE|", "Client metrics and groups have no settings here.")
known("broker-settings/values", "*log.retention.ms=-2*", "INVALID_REQUEST|a text", "NONE|", "-1 stands for no limit. Kafka takes any number below 0 for it, on a broker.")
known("broker-settings/replaced", "*log.flush.interval.ms/*", "0", "null", "The value in force is shown; Kafka has it under another name.")
known("describe-configs/broker", "*/Value", "604800000", "null", "The value in force is shown; Kafka has it under another name (log.retention.hours).")

# Groups.
known("find-coordinator/transactions", "*", "*", "*", "Transactions are not served: UNSUPPORTED_VERSION.")
known("find-coordinator/share-groups", "*", "UNSUPPORTED_VERSION|a text", "INVALID_REQUEST|", "Share groups are not served.")
known("groups/static-member-fenced-while-it-waits", "*JoinGroup v7/MemberId", "", "first1",
      "A process that is fenced is told no id: none is its own any more.")
known("groups/ids-that-nobody-uses", "*", "*", "*", "Ids that nobody uses are as many as members may be. Kafka gives out any number.")
known("groups/protocol-without-a-name", "*/ProtocolName", "", "null", "The empty name is a name. Kafka takes it for none.")
known("consumer-groups/*", "*joins again*", "*", "*FENCED_MEMBER_EPOCH*|*UNRELEASED_INSTANCE_ID*|-1|0|null|a text",
      "A member that joins again under its own id has given everything up, and is taken. Kafka 4.1 fences it until its session ends.")
known("consumer-groups/members-of-both-kinds", "*another */MemberId", "A1", "", "A member that is refused is told its id, as in a classic group. Kafka leaves it out here.")
known("offset-delete/v0", "*DescribeGroups*/GroupState", "Dead", "Empty",
      "A group is there while it has offsets. Kafka keeps it until it next looks for groups without any.")
known("incremental-alter-configs/v*", "*operation/*/ErrorCode", "INVALID_REQUEST", "UNKNOWN_SERVER_ERROR",
      "An operation that does not exist makes the request wrong. Kafka's own code fails at it.")

# One node.
known("alter-partition-reassignments/v*", "*of nothing/ErrorMessage", "null", "", "No text where nothing is wrong. Kafka has an empty one, but only here.")
known("update-features/v*", "*/Results/*/ErrorMessage", "null", "a text", "No text where nothing is wrong. Kafka says that nothing is.")
known("describe-topic-partitions/not-possible-v*", "*", "*", "*", "A name that no topic can have: INVALID_TOPIC_EXCEPTION for that one. Kafka's own code fails at all.")

# The rest.
known("api-versions/v*", "*versions/2/1", "11", "10", "ListOffsets 11 is served. Kafka 4.1 has it, but does not serve it yet.")
known("api-versions/v*", "*versions/22/1", "5", "6",
      "Version 6 of InitProducerId is not finished in Kafka 4.1, which serves it only because the run asks for what is not.")
known("leader-epochs/v*", "*epoch -2*/LeaderEpoch|*epoch -2*/EndOffset", "-1", "-2|0",
      "An epoch below 0 never was. Kafka answers where the first one begins.")
known("api-versions/apis", "*APIs/*", ABSENT, "is there", "APIs that are not served; see docs/kafka-differences.md.")
known("api-versions/apis", "*features/*", ABSENT, "*", "No features (KIP-584) are listed.")
known("broken/array-lengths", "*with -2", "the connection is closed", "answered", "A length below -1 is malformed. Kafka takes it for null.")
known("broken/not-utf8", "*", "*", "*", "Text that is not UTF-8 is malformed, and closes the connection. Kafka replaces what it cannot read.")
known("*", "*/ErrorMessage", "a text", "null|", "A message where Kafka has none.")
