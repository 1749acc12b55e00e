// Keylane through the AWS SDK for JavaScript v3, told where the server is by AWS_ENDPOINT_URL alone. It speaks HTTP/2.

import { readFileSync } from "node:fs";
import * as aws from "@aws-sdk/client-kinesis";

const version = JSON.parse(readFileSync(new URL("node_modules/@aws-sdk/client-kinesis/package.json", import.meta.url))).version;
const run = `${process.pid}-${Math.floor(Date.now() / 1000)}`;
// One try each: an error that is hidden by a second try is an error.
const kinesis = new aws.KinesisClient({ maxAttempts: 1 });
const first = "shardId-000000000000";
const text = new TextDecoder();

/** A cell of docs/compatibility.md; without a body the client has no such feature. */
async function cell(feature, body) {
  const made = { section: "kinesis", client: "AWS SDK for JavaScript", version, feature, result: body ? "yes" : "none" };
  try {
    await body?.();
  } catch (cause) {
    Object.assign(made, { result: "no", why: String(cause.stack ?? cause).replaceAll("\n", " ").slice(0, 400) });
  }
  console.log(`cell ${JSON.stringify(made)}`);
}

function equal(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: got ${a?.slice(0, 150)}, wanted ${b.slice(0, 150)}`);
}

const send = (name, request = {}) => kinesis.send(new aws[`${name}Command`](request));

async function stream(name, shards = 1) {
  const StreamName = `js-${name}-${run}`;
  await send("CreateStream", { StreamName, ShardCount: shards });
  const state = await aws.waitUntilStreamExists({ client: kinesis, maxWaitTime: 30 }, { StreamName });
  equal(state.state, "SUCCESS", "the waiter");
  return StreamName;
}

async function iterator(StreamName, ShardId, kind = "TRIM_HORIZON", more = {}) {
  return (await send("GetShardIterator", { StreamName, ShardId, ShardIteratorType: kind, ...more })).ShardIterator;
}

/** All records of a shard from an iterator on, and the last answer. */
async function read(at, Limit = 1000) {
  const records = [];
  for (;;) {
    const answer = await send("GetRecords", { ShardIterator: at, Limit });
    records.push(...answer.Records);
    at = answer.NextShardIterator;
    if (!at || (answer.Records.length === 0 && answer.MillisBehindLatest === 0)) return [records, answer];
  }
}

async function shards(StreamName, more = {}) {
  return (await send("ListShards", { StreamName, ...more })).Shards;
}

async function refused(kind, name, request) {
  try {
    await send(name, request);
  } catch (cause) {
    if (!(cause instanceof kind)) throw new Error(`${kind.name} expected: ${cause.name}: ${cause.message}`);
    equal([cause.$fault, cause.$metadata.httpStatusCode, cause.$metadata.requestId?.length], ["client", 400, 36], kind.name);
    return cause.message;
  }
  throw new Error(`${kind.name} expected`);
}

const row = (n) => ({ PartitionKey: `key-${n % 10}`, Data: new TextEncoder().encode(`record ${n} `.repeat(n % 50)) });

await cell("streams", async () => {
  const StreamName = await stream("life", 3);
  const told = (await send("DescribeStream", { StreamName })).StreamDescription;
  equal(told.Shards[1].HashKeyRange.StartingHashKey, String((1n << 128n) / 3n), "a hash range");
  equal(Math.abs(Date.now() - told.StreamCreationTimestamp.getTime()) < 60_000, true, "creation time");
  const names = [];
  for await (const page of aws.paginateListStreams({ client: kinesis, pageSize: 1 }, {})) names.push(...page.StreamNames);
  equal(names.filter((name) => name === StreamName).length, 1, "the stream in all pages");
  await send("AddTagsToStream", { StreamName, Tags: { team: "a", stage: "test" } });
  equal((await send("ListTagsForStream", { StreamName })).Tags.length, 2, "tags");
  await send("IncreaseStreamRetentionPeriod", { StreamName, RetentionPeriodHours: 48 });
  const summary = (await send("DescribeStreamSummary", { StreamARN: told.StreamARN })).StreamDescriptionSummary;
  equal([summary.RetentionPeriodHours, summary.OpenShardCount], [48, 3], "summary");
  await send("DeleteStream", { StreamName });
  await aws.waitUntilStreamNotExists({ client: kinesis, maxWaitTime: 30 }, { StreamName });
});

await cell("put and get", async () => {
  const StreamName = await stream("records", 4);
  const sent = Array.from({ length: 300 }, (_, n) => row(n));
  const put = await send("PutRecords", { StreamName, Records: sent });
  equal(put.FailedRecordCount, 0, "failed");
  const one = await send("PutRecord", { StreamName, PartitionKey: "\u{1f600}", Data: new Uint8Array(0) });
  sent.push({ PartitionKey: "\u{1f600}", Data: new Uint8Array(0) });
  const answers = [...put.Records, one];
  for (const { ShardId } of await shards(StreamName)) {
    const [got] = await read(await iterator(StreamName, ShardId), 37);
    const wanted = sent.map((record, n) => [answers[n].SequenceNumber, record.PartitionKey, text.decode(record.Data), answers[n].ShardId])
      .filter((record) => record[3] === ShardId);
    equal(got.map((r) => [r.SequenceNumber, r.PartitionKey, text.decode(r.Data), ShardId]), wanted, `records of ${ShardId}`);
  }
});

await cell("iterators", async () => {
  const StreamName = await stream("iterators");
  const latest = await iterator(StreamName, first, "LATEST");
  const numbers = [];
  for (let n = 0; n < 10; n++) {
    numbers.push((await send("PutRecord", { StreamName, ...row(n) })).SequenceNumber);
    await new Promise((done) => setTimeout(done, 2));
  }
  const times = (await read(latest))[0].map((record) => record.ApproximateArrivalTimestamp);
  const kinds = [["AT_SEQUENCE_NUMBER", { StartingSequenceNumber: numbers[4] }, 4],
    ["AFTER_SEQUENCE_NUMBER", { StartingSequenceNumber: numbers[4] }, 5],
    ["AT_TIMESTAMP", { Timestamp: times[6] }, 6], ["LATEST", {}, 10], ["TRIM_HORIZON", {}, 0]];
  for (const [kind, more, from] of kinds) {
    const [got] = await read(await iterator(StreamName, first, kind, more), 3);
    equal(got.map((record) => record.SequenceNumber), numbers.slice(from), kind);
  }
});

await cell("reshard", async () => {
  const StreamName = await stream("reshard");
  await send("PutRecord", { StreamName, ...row(1) });
  await send("SplitShard", { StreamName, ShardToSplit: first, NewStartingHashKey: String(1n << 127n) });
  await aws.waitUntilStreamExists({ client: kinesis, maxWaitTime: 30 }, { StreamName });
  await send("PutRecord", { StreamName, ...row(1) });
  const [records, end] = await read(await iterator(StreamName, first));
  equal([records.length, end.NextShardIterator], [1, undefined], "the parent's record and end");
  const children = ["shardId-000000000001", "shardId-000000000002"];
  equal(end.ChildShards.map((child) => [child.ShardId, child.ParentShards]), children.map((id) => [id, [first]]), "children");
  await send("MergeShards", { StreamName, ShardToMerge: children[0], AdjacentShardToMerge: children[1] });
  const open = await shards(StreamName, { ShardFilter: { Type: "AT_LATEST" } });
  equal(open.map((s) => [s.ParentShardId, s.AdjacentParentShardId]), [children], "parents of the merged shard");
});

/** Tries again for as long as the subscription before may live. */
async function eventually(action) {
  for (const late = Date.now() + 10_000; ; ) {
    try {
      return await action();
    } catch (cause) {
      if (!(cause instanceof aws.ResourceInUseException) || Date.now() > late) throw cause;
      await new Promise((done) => setTimeout(done, 200));
    }
  }
}

/** Records of a subscription until there are `count`, and where it goes on. */
async function subscribed(ConsumerARN, StartingPosition, count, before) {
  const end = new AbortController();
  const request = new aws.SubscribeToShardCommand({ ConsumerARN, ShardId: first, StartingPosition });
  const { EventStream } = await eventually(() => kinesis.send(request, { abortSignal: end.signal }));
  await before();
  const records = [];
  let next;
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    records.push(...event.Records.map((record) => record.PartitionKey));
    next = event.ContinuationSequenceNumber;
    if (records.length >= count) break;
  }
  end.abort();
  return [records, next];
}

await cell("subscribe", async () => {
  const StreamName = await stream("pushed");
  const { StreamARN } = (await send("DescribeStreamSummary", { StreamName })).StreamDescriptionSummary;
  const { Consumer } = await send("RegisterStreamConsumer", { StreamARN, ConsumerName: "app" });
  const put = (from) => async () => {
    for (let n = from; n < from + 20; n++) await send("PutRecord", { StreamName, PartitionKey: `${n}`, Data: new Uint8Array(9) });
  };
  const [one, next] = await subscribed(Consumer.ConsumerARN, { Type: "TRIM_HORIZON" }, 20, put(0));
  const [two] = await subscribed(Consumer.ConsumerARN, { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: next }, 20, put(20));
  equal([...one, ...two], Array.from({ length: 40 }, (_, n) => `${n}`), "records of two subscriptions");
  await send("DeregisterStreamConsumer", { ConsumerARN: Consumer.ConsumerARN });
  equal((await send("ListStreamConsumers", { StreamARN })).Consumers, [], "consumers");
});

await cell("errors", async () => {
  const StreamName = await stream("errors");
  const told = await refused(aws.ResourceNotFoundException, "DescribeStream", { StreamName: "nobody" });
  equal(told, "Stream nobody under account 123456789012 not found.", "text");
  await refused(aws.ResourceInUseException, "CreateStream", { StreamName, ShardCount: 1 });
  await refused(aws.InvalidArgumentException, "GetRecords", { ShardIterator: "AAAA" });
  await refused(aws.ValidationException, "PutRecord", { StreamName, PartitionKey: "", Data: new Uint8Array(1) });
});

await cell("aggregated records");
console.log("done");
// Connections that are open keep the program alive for a while.
process.exit(0);
