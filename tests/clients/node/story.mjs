// What every client is asked to do, as ../story.py tells it, with clients of Node. A client comes as an object with
// create(topic, partitions), produce(topic, values), admin(topic), and join(topic, group): a member that keeps `values` and
// `partitions` up to date and has commit() and leave().

import { readFileSync } from "node:fs";

const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url)));
export const bootstrap = process.argv[2] ?? "127.0.0.1:9092";
export const PARTITIONS = 4;
export const HEARTBEAT_MS = 300;
export const SESSION_MS = 10_000;
const run = `${process.pid}-${Math.floor(Date.now() / 1000)}`;

export function equal(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: got ${a?.slice(0, 150)}, wanted ${b.slice(0, 150)}`);
}

export async function until(what, ready, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  while (!(await ready())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const range = (first, last) => Array.from({ length: last - first }, (_, i) => first + i);
const sorted = (values) => [...values].sort((a, b) => a - b);

async function cell(client, version, feature, test) {
  const made = { section: "kafka", client, version, feature, result: "yes" };
  let timer;
  try {
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("not within 60 s")), 60_000)));
    await Promise.race([test(), late]);
  } catch (cause) {
    Object.assign(made, { result: "no", why: String(cause).replaceAll("\n", " ").slice(0, 400) });
  }
  clearTimeout(timer);
  console.log(`cell ${JSON.stringify(made)}`);
}

/** All cells of a client, which has the name of its package. */
export async function tell(name, client) {
  const version = dependencies[name];
  const topic = `story-${name.replaceAll(/[@/]/g, "-")}-${run}`;
  const members = [];
  const join = async () => {
    members.push(await client.join(topic, `${topic}-group`));
    return members.at(-1);
  };
  let first;
  await cell(name, version, "admin", () => client.admin(`${topic}-admin`));
  await cell(name, version, "produce", async () => {
    await client.create(topic, PARTITIONS);
    await client.produce(topic, range(0, 100));
  });
  await cell(name, version, "consume by group", async () => {
    first = await join();
    await until("100 records", () => first.values.length >= 100);
    equal(sorted(first.values), range(0, 100), "records");
    await until("all partitions", () => first.partitions === PARTITIONS);
  });
  await cell(name, version, "rebalance", async () => {
    await first.commit();
    const second = await join();
    await until("half of the partitions each", () => first.partitions === 2 && second.partitions === 2);
    await client.produce(topic, range(100, 200));
    await until("200 records", () => first.values.length + second.values.length >= 200);
    equal(sorted([...first.values, ...second.values]), range(0, 200), "records of both");
    equal(second.values.length > 0, true, "the second member reads");
    await first.commit();
    await second.commit();
    await second.leave();
    await until("all partitions again", () => first.partitions === PARTITIONS);
  });
  await cell(name, version, "commit and resume", async () => {
    const read = first.values.length;
    await client.produce(topic, range(200, 220));
    await until("20 records more", () => first.values.length >= read + 20);
    equal(sorted(first.values.slice(read)), range(200, 220), "records read alone");
    await first.commit();
    await first.leave();
    await client.produce(topic, range(220, 240));
    const third = await join();
    await until("20 records after all had left", () => third.values.length >= 20);
    await third.leave();
    equal(sorted(third.values), range(220, 240), "records after all had left");
  });
  console.log("done");
  // Members of a story that failed would keep the program alive.
  process.exit(0);
}
