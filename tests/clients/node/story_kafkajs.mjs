// The story of the table with kafkajs.

import { Kafka, logLevel } from "kafkajs";
import { HEARTBEAT_MS, PARTITIONS, SESSION_MS, bootstrap, equal, tell, until } from "./story.mjs";

const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING });
const control = kafka.admin();

/** A member; offsets are committed when asked. */
class Member {
  values = [];
  partitions = 0;
  #positions = new Map();

  async start(topic, groupId) {
    this.topic = topic;
    this.consumer = kafka.consumer({ groupId, sessionTimeout: SESSION_MS, heartbeatInterval: HEARTBEAT_MS, maxWaitTimeInMs: 200 });
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.partitions = payload.memberAssignment[topic]?.length ?? 0;
      this.#positions.clear();
    });
    await this.consumer.connect();
    await this.consumer.subscribe({ topic, fromBeginning: true });
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        this.values.push(Number(message.value));
        this.#positions.set(partition, Number(message.offset) + 1);
      },
    });
    return this;
  }

  async commit() {
    const offsets = [...this.#positions].map(([partition, offset]) => ({ topic: this.topic, partition, offset: `${offset}` }));
    await this.consumer.commitOffsets(offsets);
  }

  async leave() {
    await this.consumer.disconnect();
  }
}

const client = {
  create: (topic, numPartitions) => control.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: true }),

  async produce(topic, values) {
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic, acks: -1, messages: values.map((value) => ({ value: `${value}`, partition: value % PARTITIONS })) });
    await producer.disconnect();
  },

  async admin(topic) {
    await this.create(topic, 3);
    equal((await control.listTopics()).includes(topic), true, "listed");
    equal((await control.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length, 3, "partitions");
    const { resources } = await control.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: false });
    equal(resources[0].configEntries.some((each) => each.configName === "retention.ms"), true, "retention.ms");
    await control.deleteTopics({ topics: [topic] });
    await until("its end", async () => !(await control.listTopics()).includes(topic));
  },

  join: (topic, group) => new Member().start(topic, group),
};

await control.connect();
await tell("kafkajs", client);
