// The story of the table with @platformatic/kafka.

import { Admin, Consumer, Producer, stringDeserializers, stringSerializers } from "@platformatic/kafka";
import { HEARTBEAT_MS, PARTITIONS, SESSION_MS, bootstrap, equal, tell, until } from "./story.mjs";

const common = { clientId: "story", bootstrapBrokers: [bootstrap] };
const control = new Admin(common);

class Member {
  values = [];
  partitions = 0;
  #last = new Map();

  async start(topic, groupId) {
    this.consumer = new Consumer({ ...common, groupId, deserializers: stringDeserializers });
    this.consumer.on("consumer:group:join", ({ assignments }) => {
      this.#last.clear();
      // A fetch that is on its way when partitions are lost is still delivered; it waits for records 200 ms.
      const count = assignments?.find((each) => each.topic === topic)?.partitions.length ?? 0;
      this.partitions = 0;
      setTimeout(() => (this.partitions = count), 600);
    });
    this.stream = await this.consumer.consume({
      topics: [topic], mode: "committed", fallbackMode: "earliest", autocommit: false,
      sessionTimeout: SESSION_MS, heartbeatInterval: HEARTBEAT_MS, maxWaitTime: 200,
    });
    this.stream.on("data", (message) => {
      this.values.push(Number(message.value));
      this.#last.set(message.partition, message);
    });
    return this;
  }

  async commit() {
    for (const message of this.#last.values()) await message.commit();
  }

  async leave() {
    await this.stream.close();
    await this.consumer.close();
  }
}

const client = {
  create: (topic, partitions) => control.createTopics({ topics: [topic], partitions, replicas: 1 }),

  async produce(topic, values) {
    const producer = new Producer({ ...common, serializers: stringSerializers });
    const messages = values.map((value) => ({ topic, value: `${value}`, partition: value % PARTITIONS }));
    await producer.send({ messages, acks: -1 });
    await producer.close();
  },

  async admin(topic) {
    await this.create(topic, 3);
    equal((await control.listTopics()).includes(topic), true, "listed");
    const found = await control.metadata({ topics: [topic], forceUpdate: true });
    equal(found.topics.get(topic).partitionsCount, 3, "partitions");
    const resources = [{ resourceType: 2, resourceName: topic, configurationKeys: null }];
    const [described] = await control.describeConfigs({ resources });
    equal(described.configs.some((each) => each.name === "retention.ms"), true, "retention.ms");
    await control.deleteTopics({ topics: [topic] });
    await until("its end", async () => !(await control.listTopics()).includes(topic));
  },

  join: (topic, group) => new Member().start(topic, group),
};

await tell("@platformatic/kafka", client);
