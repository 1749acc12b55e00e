// Keylane through franz-go: idempotent and plain producing, all codecs, reading by assignment, admin.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	bootstrap = "127.0.0.1:9092"
	run       = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().Unix())
	// Yesterday: no clock of the broker can pass for it, and it is young enough to be retained.
	epoch = time.Now().Add(-24 * time.Hour).Truncate(time.Second)
)

func check(name string, body func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if err := body(ctx); err != nil {
		fmt.Printf("not ok %s: %.400s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

func topicName(name string) string { return "franz-" + name + "-" + run }

func withClient(body func(*kgo.Client) error, options ...kgo.Opt) error {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	return body(client)
}

// create makes a topic and waits until its leaders answer.
func create(ctx context.Context, name string, partitions int32) error {
	return withClient(func(client *kgo.Client) error {
		admin := kadm.NewClient(client)
		made, err := admin.CreateTopic(ctx, partitions, 1, nil, name)
		if err != nil {
			return err
		}
		if made.NumPartitions != partitions {
			return fmt.Errorf("created with %d partitions, wanted %d", made.NumPartitions, partitions)
		}
		for ctx.Err() == nil {
			ends, err := admin.ListEndOffsets(ctx, name)
			if err == nil && ends.Error() == nil && len(ends.Offsets()[name]) == int(partitions) {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return fmt.Errorf("topic %s has no leaders", name)
	})
}

func records(topic string, count int) []*kgo.Record {
	made := make([]*kgo.Record, count)
	for i := range made {
		record := &kgo.Record{
			Topic:     topic,
			Key:       fmt.Appendf(nil, "key-%d", i%40),
			Value:     []byte(strings.Repeat(fmt.Sprintf("value %d ", i), 1+i%50)),
			Timestamp: epoch.Add(time.Duration(i) * 10 * time.Millisecond),
		}
		if i%3 == 0 {
			record.Headers = []kgo.RecordHeader{{Key: "h", Value: fmt.Append(nil, i)}, {Key: "h", Value: []byte("again")}}
		}
		made[i] = record
	}
	return made
}

func produce(ctx context.Context, sent []*kgo.Record, options ...kgo.Opt) error {
	return withClient(func(client *kgo.Client) error {
		return client.ProduceSync(ctx, sent...).FirstErr()
	}, options...)
}

// readAll reads partitions from beginning to end, in the order of offsets.
func readAll(ctx context.Context, topic string, partitions int32) (map[int32][]*kgo.Record, error) {
	from := make(map[int32]kgo.Offset)
	for p := range partitions {
		from[p] = kgo.NewOffset().AtStart()
	}
	got := make(map[int32][]*kgo.Record)
	err := withClient(func(client *kgo.Client) error {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		wanted, count := int64(0), int64(0)
		ends.Each(func(end kadm.ListedOffset) { wanted += end.Offset })
		for count < wanted {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return fmt.Errorf("after %d of %d records: %w", count, wanted, err)
			}
			fetches.EachRecord(func(record *kgo.Record) {
				got[record.Partition] = append(got[record.Partition], record)
				count++
			})
		}
		return nil
	}, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	return got, err
}

// text is everything of a record that must survive.
func text(record *kgo.Record) string {
	return fmt.Sprintf("%q %q %q %d", record.Key, record.Value, record.Headers, record.Timestamp.UnixMilli())
}

// judge wants every record once and unchanged, dense offsets, and each key in one partition in its order.
func judge(sent []*kgo.Record, got map[int32][]*kgo.Record) error {
	wanted, read := make(map[string][]string), make(map[string][]string)
	for _, record := range sent {
		wanted[string(record.Key)] = append(wanted[string(record.Key)], text(record))
	}
	home, total := make(map[string]int32), 0
	for partition, rows := range got {
		for i, record := range rows {
			if record.Offset != int64(i) {
				return fmt.Errorf("partition %d: record %d has offset %d", partition, i, record.Offset)
			}
			key := string(record.Key)
			if other, seen := home[key]; seen && other != partition {
				return fmt.Errorf("key %s lies in partitions %d and %d", key, other, partition)
			}
			home[key] = partition
			read[key] = append(read[key], text(record))
			total++
		}
	}
	if total != len(sent) {
		return fmt.Errorf("%d records read, %d sent", total, len(sent))
	}
	for key, list := range wanted {
		if strings.Join(list, "\n") != strings.Join(read[key], "\n") {
			return fmt.Errorf("records of %s differ", key)
		}
	}
	return nil
}

func roundTrip(name string, count int, options ...kgo.Opt) func(context.Context) error {
	return func(ctx context.Context) error {
		topic := topicName(name)
		if err := create(ctx, topic, 3); err != nil {
			return err
		}
		sent := records(topic, count)
		if err := produce(ctx, sent, options...); err != nil {
			return err
		}
		var got map[int32][]*kgo.Record
		var err error
		// With acks=0 the end may lag behind the producer.
		for range 20 {
			if got, err = readAll(ctx, topic, 3); err != nil {
				return err
			}
			if err = judge(sent, got); err == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond)
		}
		return err
	}
}

func admin(ctx context.Context) error {
	topic := topicName("admin")
	if err := create(ctx, topic, 2); err != nil {
		return err
	}
	if err := create(ctx, topic, 2); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating it again: %v", err)
	}
	return withClient(func(client *kgo.Client) error {
		admin := kadm.NewClient(client)
		details, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return err
		}
		if n := len(details[topic].Partitions); n != 2 {
			return fmt.Errorf("%d partitions listed", n)
		}
		configs, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		config, err := configs.On(topic, nil)
		if err != nil || config.Err != nil || len(config.Configs) < 5 {
			return fmt.Errorf("%d configs described: %v, %v", len(config.Configs), err, config.Err)
		}
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			return err
		}
		if _, err := admin.DeleteTopic(ctx, topic); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("deleting it again: %v", err)
		}
		return nil
	})
}

// committed commits and fetches offsets of a group without members, and looks at it as an admin.
func committed(ctx context.Context) error {
	topic, group := topicName("committed"), topicName("group")
	if err := create(ctx, topic, 2); err != nil {
		return err
	}
	return withClient(func(client *kgo.Client) error {
		admin := kadm.NewClient(client)
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5, LeaderEpoch: 0, Metadata: "pünktlich"})
		offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 7, LeaderEpoch: -1})
		if err := admin.CommitAllOffsets(ctx, group, offsets); err != nil {
			return err
		}
		found, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return err
		}
		for partition, at := range map[int32]int64{0: 5, 1: 7} {
			if one, _ := found.Lookup(topic, partition); one.At != at || one.Err != nil {
				return fmt.Errorf("partition %d: %d (%v), wanted %d", partition, one.At, one.Err, at)
			}
		}
		if one, _ := found.Lookup(topic, 0); one.Metadata != "pünktlich" || one.LeaderEpoch != 0 {
			return fmt.Errorf("metadata %q, leader epoch %d", one.Metadata, one.LeaderEpoch)
		}
		groups, err := admin.ListGroups(ctx, "Empty")
		if err != nil || groups[group].State != "Empty" {
			return fmt.Errorf("listed as %v: %v", groups[group], err)
		}
		described, err := admin.DescribeGroups(ctx, group)
		if err != nil || described[group].Err != nil || described[group].State != "Empty" {
			return fmt.Errorf("described as %v: %v", described[group], err)
		}
		gone := make(kadm.TopicsSet)
		gone.Add(topic, 1)
		deleted, err := admin.DeleteOffsets(ctx, group, gone)
		if err != nil || deleted.Error() != nil {
			return fmt.Errorf("deleting an offset: %v, %v", err, deleted.Error())
		}
		if found, err = admin.FetchOffsets(ctx, group); err != nil || len(found[topic]) != 1 {
			return fmt.Errorf("%d offsets left: %v", len(found[topic]), err)
		}
		if _, err := admin.DeleteGroup(ctx, group); err != nil {
			return err
		}
		if _, err := admin.DeleteGroup(ctx, group); !errors.Is(err, kerr.GroupIDNotFound) {
			return fmt.Errorf("deleting it again: %v", err)
		}
		return nil
	})
}

// subscribed is a member of a group.
func subscribed(ctx context.Context) error {
	topic := topicName("subscribed")
	if err := create(ctx, topic, 1); err != nil {
		return err
	}
	if err := produce(ctx, records(topic, 10)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return withClient(func(client *kgo.Client) error {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			return errors.New("no records")
		}
		return client.CommitUncommittedOffsets(ctx)
	}, kgo.ConsumerGroup(topicName("subscribed-group")), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
}

func times(ctx context.Context) error {
	topic := topicName("times")
	if err := create(ctx, topic, 1); err != nil {
		return err
	}
	if err := produce(ctx, records(topic, 100)); err != nil {
		return err
	}
	return withClient(func(client *kgo.Client) error {
		admin := kadm.NewClient(client)
		for after, wanted := range map[int64]int64{0: 0, 1: 1, 500: 50, 501: 51, 990: 99} {
			found, err := admin.ListOffsetsAfterMilli(ctx, epoch.UnixMilli()+after, topic)
			if err != nil {
				return err
			}
			if at, _ := found.Lookup(topic, 0); at.Err != nil || at.Offset != wanted {
				return fmt.Errorf("offset %d ms after the first: %d (%v), wanted %d", after, at.Offset, at.Err, wanted)
			}
		}
		return nil
	})
}

func main() {
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, each := range codecs {
		check("round trip, "+each.name, roundTrip("rt-"+each.name, 3000, kgo.ProducerBatchCompression(each.codec)))
	}
	plain := kgo.DisableIdempotentWrite()
	check("acks=0", roundTrip("acks-0", 500, plain, kgo.RequiredAcks(kgo.NoAck())))
	check("acks=1", roundTrip("acks-1", 500, plain, kgo.RequiredAcks(kgo.LeaderAck())))
	check("acks=all", roundTrip("acks-all", 500, plain, kgo.RequiredAcks(kgo.AllISRAcks())))
	check("idempotent, many in flight", roundTrip("idempotent", 20_000, kgo.ProducerBatchMaxBytes(4096)))
	check("admin", admin)
	check("offsets by time", times)
	check("committed offsets, groups", committed)
	check("subscribe, commit", subscribed)
	fmt.Println("done")
}
