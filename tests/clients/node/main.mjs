// Keylane through kafkajs, which speaks old versions of the protocol. It reads only as a member of a group,
// so what it wrote is read back through kcat.

import { execFileSync } from "node:child_process";
import { Kafka, CompressionTypes, logLevel } from "kafkajs";

const bootstrap = process.argv[2] ?? "127.0.0.1:9092";
const run = `${process.pid}-${Math.floor(Date.now() / 1000)}`;
// Yesterday: no clock of the broker can pass for it, and it is young enough to be retained.
const epoch = (Math.floor(Date.now() / 1000) - 86_400) * 1000;
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 5 } });
const admin = kafka.admin();

async function check(name, body) {
  try {
    await body();
    console.log(`ok ${name}`);
  } catch (cause) {
    console.log(`not ok ${name}: ${String(cause).replaceAll("\n", " ").slice(0, 400)}`);
  }
}

function equal(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: got ${a.slice(0, 150)}, wanted ${b.slice(0, 150)}`);
}

const topicName = (name) => `kafkajs-${name}-${run}`;

async function create(topic, numPartitions) {
  equal(await admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: true }), true, "created");
  await admin.fetchTopicOffsets(topic);
}

function records(count) {
  return Array.from({ length: count }, (_, i) => ({
    key: `key-${i % 20}`,
    value: `value ${i} `.repeat(1 + (i % 30)),
    headers: { first: `${i}`, second: "two" },
    timestamp: String(epoch + i * 10),
  }));
}

async function produce(topic, messages, options = {}, settings = {}) {
  const producer = kafka.producer(settings);
  await producer.connect();
  try {
    return await producer.send({ topic, messages, ...options });
  } finally {
    await producer.disconnect();
  }
}

function readAll(topic) {
  const args = ["-b", bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"];
  const text = execFileSync(process.env.KCAT, args, { timeout: 60_000, maxBuffer: 1 << 28 }).toString();
  return text.split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

/** Every record once and unchanged, dense offsets, each key in one partition and in its order. */
function judge(sent, rows) {
  equal(rows.length, sent.length, "records read");
  const next = new Map();
  const home = new Map();
  const byKey = new Map();
  for (const row of rows) {
    equal(row.offset, next.get(row.partition) ?? 0, `offset in partition ${row.partition}`);
    next.set(row.partition, row.offset + 1);
    equal(row.partition, home.get(row.key) ?? row.partition, `partition of ${row.key}`);
    home.set(row.key, row.partition);
    byKey.set(row.key, [...(byKey.get(row.key) ?? []), row]);
  }
  for (const wanted of sent) {
    const row = byKey.get(wanted.key)?.shift();
    equal(row?.payload, wanted.value, `value of ${wanted.key}`);
    equal(String(row.ts), wanted.timestamp, `time of ${wanted.key}`);
    equal(row.headers, ["first", wanted.headers.first, "second", "two"], `headers of ${wanted.key}`);
  }
}

async function roundTrip(name, options, settings) {
  const topic = topicName(name);
  await create(topic, 3);
  const sent = records(1000);
  await produce(topic, sent, options, settings);
  const end = Date.now() + 10_000;
  // With acks=0 the end may lag behind the producer.
  while (options.acks === 0 && readAll(topic).length < sent.length && Date.now() < end);
  judge(sent, readAll(topic));
}

await admin.connect();
await check("round trip, none", () => roundTrip("none", { compression: CompressionTypes.None }));
await check("round trip, gzip", () => roundTrip("gzip", { compression: CompressionTypes.GZIP }));
await check("acks=0", () => roundTrip("acks0", { acks: 0 }));
await check("acks=1", () => roundTrip("acks1", { acks: 1 }));
await check("acks=all", () => roundTrip("acksall", { acks: -1 }));
await check("idempotent", () => roundTrip("idempotent", {}, { idempotent: true, maxInFlightRequests: 1 }));
await check("offsets", async () => {
  const topic = topicName("offsets");
  await create(topic, 2);
  const answer = await produce(topic, records(50).map((record) => ({ ...record, partition: 1 })));
  equal(answer[0].baseOffset, "0", "base offset");
  const bounds = (await admin.fetchTopicOffsets(topic)).sort((a, b) => a.partition - b.partition);
  equal(bounds.map((each) => [each.low, each.high]), [["0", "0"], ["0", "50"]], "bounds");
  const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, epoch + 201);
  equal(byTime.find((each) => each.partition === 1).offset, "21", "offset by time");
});
await check("topics", async () => {
  const topic = topicName("topics");
  await create(topic, 4);
  equal(await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] }), false, "creating it again");
  equal((await admin.listTopics()).includes(topic), true, "listed");
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  equal(topics[0].partitions.length, 4, "partitions");
  const { brokers } = await admin.describeCluster();
  equal(brokers.map((each) => `${each.host}:${each.port}`), [bootstrap], "brokers");
  const configs = await admin.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: false });
  equal(configs.resources[0].errorCode, 0, "error of describeConfigs");
  equal(configs.resources[0].configEntries.some((each) => each.configName === "retention.ms"), true, "retention.ms");
  await admin.deleteTopics({ topics: [topic] });
  const end = Date.now() + 10_000;
  while ((await admin.listTopics()).includes(topic)) if (Date.now() > end) throw new Error("still listed");
});
await check("groups and their offsets", async () => {
  const [topic, groupId] = [topicName("committed"), topicName("group")];
  await create(topic, 2);
  await produce(topic, records(50).map((record) => ({ ...record, partition: 1 })));
  const offsets = async () => {
    const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
    return found.partitions.sort((a, b) => a.partition - b.partition).map((each) => each.offset);
  };
  equal(await offsets(), ["-1", "-1"], "before");
  equal((await admin.listGroups()).groups.some((each) => each.groupId === groupId), false, "listed before");
  // What setOffsets does needs a member; the coordinator itself is asked here.
  const { groups } = await admin.describeGroups([groupId]);
  equal([groups[0].errorCode, groups[0].state], [0, "Dead"], "a group that does not exist");
  const error = await admin.deleteGroups([groupId]).then(() => "none", (cause) => cause.groups[0].error.type);
  equal(error, "GROUP_ID_NOT_FOUND", "deleting it");
});
await check("subscribe", async () => {
  const topic = topicName("subscribed");
  await create(topic, 1);
  const writer = kafka.producer();
  await writer.connect();
  await writer.send({ topic, messages: [{ value: "one" }] });
  await writer.disconnect();
  const consumer = kafka.consumer({ groupId: topicName("subscribed-group") });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const late = new Promise((resolve) => setTimeout(() => resolve("nothing within 20 s"), 20_000));
  const got = new Promise((resolve) => {
    consumer.run({ eachMessage: async ({ message }) => resolve(message.value.toString()) });
  });
  const value = await Promise.race([got, late]);
  await consumer.disconnect();
  equal(value, "one", "record");
});
await admin.disconnect();
console.log("done");
