"""The story of the table with aiokafka."""

import asyncio
import importlib.metadata

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from checks import BOOTSTRAP, equal, expect
from story import HEARTBEAT_MS, PARTITIONS, SESSION_MS, Member, tell


async def as_admin(work):
    control = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await control.start()
    try:
        return await asyncio.wait_for(work(control), 60)
    finally:
        await control.close()


class AioKafka:
    def create(self, name, partitions):
        asyncio.run(as_admin(lambda control: control.create_topics([NewTopic(name, partitions, 1)])))

    def produce(self, name, values):
        async def work():
            producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
            await producer.start()
            waiting = [await producer.send(name, str(value).encode(), partition=value % PARTITIONS) for value in values]
            await asyncio.wait_for(asyncio.gather(*waiting), 20)
            await producer.stop()

        asyncio.run(work())

    def admin(self, name):
        async def work(control):
            await control.create_topics([NewTopic(name, 3, 1)])
            while name not in await control.list_topics():
                await asyncio.sleep(0.1)
            equal(len((await control.describe_topics([name]))[0]["partitions"]), 3, "partitions")
            settings = await control.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            expect("retention.ms" in str(settings), "retention.ms is not described")
            await control.delete_topics([name])
            while name in await control.list_topics():
                await asyncio.sleep(0.1)

        asyncio.run(as_admin(work))

    def join(self, name, group):
        return Subscriber(name, group)


class Subscriber(Member):
    def __init__(self, name, group):
        super().__init__()
        self.topic, self.group = name, group

    def do(self, work):
        return self.loop.run_until_complete(work)

    def open(self):
        self.loop = asyncio.new_event_loop()

        async def started():
            consumer = AIOKafkaConsumer(self.topic, bootstrap_servers=BOOTSTRAP, group_id=self.group,
                                        auto_offset_reset="earliest", enable_auto_commit=False,
                                        session_timeout_ms=SESSION_MS, heartbeat_interval_ms=HEARTBEAT_MS)
            await consumer.start()
            return consumer

        self.consumer = self.do(started())

    def poll(self):
        found = self.do(self.consumer.getmany(timeout_ms=50))
        return [int(row.value) for rows in found.values() for row in rows]

    def assigned(self):
        return len(self.consumer.assignment())

    def commit(self):
        self.do(self.consumer.commit())

    def close(self):
        self.do(self.consumer.stop())
        self.loop.close()


if __name__ == "__main__":
    tell("aiokafka", importlib.metadata.version("aiokafka"), AioKafka())
