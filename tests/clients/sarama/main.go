// Keylane through sarama 1.43.3, whose batches state -1 as their highest time, whatever that of their records is.
//
//	sarama BOOTSTRAP                           runs the suite
//	sarama BOOTSTRAP produce TOPIC TIME ...    produces one batch, a record for each time (ms), to partition 0
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

var (
	bootstrap = "127.0.0.1:9092"
	run       = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().Unix())
	// Yesterday: no clock of the broker can pass for it, and it is young enough to be retained.
	epoch = time.Now().Add(-24 * time.Hour).Truncate(time.Second)
)

func check(name string, body func() error) {
	if err := body(); err != nil {
		fmt.Printf("not ok %s: %.400s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Return.Errors = true
	// One batch of what is sent at once.
	config.Producer.Flush.Frequency = 50 * time.Millisecond
	return config
}

// create makes a topic of one partition and waits until its leader answers.
func create(label string, entries map[string]string) (string, error) {
	name := "sarama-" + label + "-" + run
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, settings())
	if err != nil {
		return name, err
	}
	defer admin.Close()
	configs := make(map[string]*string)
	for key, value := range entries {
		configs[key] = &value
	}
	detail := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: configs}
	if err := admin.CreateTopic(name, detail, false); err != nil {
		return name, err
	}
	for range 100 {
		if _, err = offset(name, sarama.OffsetNewest); err == nil {
			return name, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return name, fmt.Errorf("topic %s has no leader: %w", name, err)
}

// offset asks for an offset by time (ms), or for the oldest or newest.
func offset(topic string, at int64) (int64, error) {
	client, err := sarama.NewClient([]string{bootstrap}, settings())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return client.GetOffset(topic, 0, at)
}

func produce(config *sarama.Config, messages []*sarama.ProducerMessage) error {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	return producer.SendMessages(messages)
}

func records(topic string, times ...time.Time) []*sarama.ProducerMessage {
	made := make([]*sarama.ProducerMessage, len(times))
	for i, at := range times {
		made[i] = &sarama.ProducerMessage{
			Topic: topic, Timestamp: at, Key: sarama.StringEncoder("key"),
			Value: sarama.StringEncoder(fmt.Sprintf("value %d", i)),
		}
	}
	return made
}

// seconds are times from the epoch of this run on, a second apart.
func seconds(count int) []time.Time {
	times := make([]time.Time, count)
	for i := range times {
		times[i] = epoch.Add(time.Duration(i) * time.Second)
	}
	return times
}

// read gives the records of a topic from its start to its end.
func read(topic string) ([]*sarama.ConsumerMessage, error) {
	end, err := offset(topic, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumer([]string{bootstrap}, settings())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var got []*sarama.ConsumerMessage
	timeout := time.After(20 * time.Second)
	for end > 0 {
		select {
		case one := <-partition.Messages():
			got = append(got, one)
			if one.Offset+1 >= end {
				return got, nil
			}
		case err := <-partition.Errors():
			return got, err
		case <-timeout:
			return got, fmt.Errorf("%d records read of %d within 20 s", len(got), end)
		}
	}
	return got, nil
}

func roundTrip(codec sarama.CompressionCodec, idempotent bool) func() error {
	return func() error {
		topic, err := create(fmt.Sprintf("rt-%s-%t", codec, idempotent), nil)
		if err != nil {
			return err
		}
		config := settings()
		config.Producer.Compression = codec
		if idempotent {
			config.Producer.Idempotent = true
			config.Net.MaxOpenRequests = 1
		}
		sent := records(topic, seconds(1000)...)
		if err := produce(config, sent); err != nil {
			return err
		}
		got, err := read(topic)
		if err != nil {
			return err
		}
		if len(got) != len(sent) {
			return fmt.Errorf("%d records read, %d sent", len(got), len(sent))
		}
		for i, one := range got {
			wanted, _ := sent[i].Value.Encode()
			if one.Offset != int64(i) || !bytes.Equal(one.Value, wanted) || !one.Timestamp.Equal(sent[i].Timestamp) {
				return fmt.Errorf("record %d: offset %d, value %q, time %v", i, one.Offset, one.Value, one.Timestamp)
			}
		}
		return nil
	}
}

// byTime looks up records by time that sarama itself wrote.
func byTime() error {
	topic, err := create("times", nil)
	if err != nil {
		return err
	}
	if err := produce(settings(), records(topic, seconds(100)...)); err != nil {
		return err
	}
	for after, wanted := range map[int64]int64{-1000: 0, 0: 0, 1: 1, 50_000: 50, 98_001: 99} {
		found, err := offset(topic, epoch.UnixMilli()+after)
		if err != nil || found != wanted {
			return fmt.Errorf("offset %d ms after the first: %d (%v), wanted %d", after, found, err, wanted)
		}
	}
	return nil
}

// retention: records of an hour ago are deleted where they are kept for ten minutes; those of now stay.
func retention() error {
	old, err := create("old", map[string]string{"retention.ms": "600000"})
	if err != nil {
		return err
	}
	young, err := create("young", map[string]string{"retention.ms": "600000"})
	if err != nil {
		return err
	}
	if err := produce(settings(), records(young, time.Now())); err != nil {
		return err
	}
	// Deleted twice: so the broker has looked at the young ones at least twice.
	for round := range int64(2) {
		if err := produce(settings(), records(old, time.Now().Add(-time.Hour))); err != nil {
			return err
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			start, err := offset(old, sarama.OffsetOldest)
			if err != nil {
				return err
			}
			if start > round {
				break
			}
			if time.Now().After(deadline) {
				return errors.New("a record of an hour ago is still there, retention.ms is ten minutes")
			}
		}
	}
	got, err := read(young)
	if err != nil || len(got) != 1 {
		return fmt.Errorf("%d young records left, wanted 1: %v", len(got), err)
	}
	return nil
}

// compaction: what was overwritten goes, though it was sarama that wrote it.
func compaction() error {
	topic, err := create("compacted", map[string]string{
		"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01",
		"max.compaction.lag.ms": "1000",
	})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(1200 * time.Millisecond) {
		// Each is newer than segment.ms allows to lie beside the last: segments are closed.
		if err := produce(settings(), records(topic, time.Now(), time.Now())); err != nil {
			return err
		}
		end, err := offset(topic, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		got, err := read(topic)
		if err != nil {
			return err
		}
		if int64(len(got)) < end {
			return nil
		}
	}
	return errors.New("every overwritten record of the one key is still there after 40 s")
}

// logAppendTime: the producer is told the broker's time, and the consumer sees the same.
func logAppendTime() error {
	topic, err := create("append-time", map[string]string{"message.timestamp.type": "LogAppendTime"})
	if err != nil {
		return err
	}
	sent := records(topic, seconds(10)...)
	before := time.Now().Truncate(time.Millisecond)
	if err := produce(settings(), sent); err != nil {
		return err
	}
	after := time.Now()
	got, err := read(topic)
	if err != nil {
		return err
	}
	for i, one := range got {
		told := sent[i].Timestamp
		if told.Before(before) || told.After(after) {
			return fmt.Errorf("the producer was told %v for record %d; it is %v", told, i, after)
		}
		if !one.Timestamp.Equal(told) {
			return fmt.Errorf("record %d has %v, the producer was told %v", i, one.Timestamp, told)
		}
	}
	if len(got) != len(sent) {
		return fmt.Errorf("%d records read, %d sent", len(got), len(sent))
	}
	return nil
}

func produceOnce(topic string, texts []string) error {
	var times []time.Time
	for _, text := range texts {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		times = append(times, time.UnixMilli(ms))
	}
	return produce(settings(), records(topic, times...))
}

func main() {
	if len(os.Args) > 1 {
		bootstrap = os.Args[1]
	}
	if len(os.Args) > 3 && os.Args[2] == "produce" {
		if err := produceOnce(os.Args[3], os.Args[4:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4,
		sarama.CompressionZSTD,
	} {
		check(fmt.Sprintf("round trip, %s", codec), roundTrip(codec, false))
	}
	check("round trip, idempotent", roundTrip(sarama.CompressionNone, true))
	check("offsets by time", byTime)
	check("retention.ms deletes old records and keeps young ones", retention)
	check("a compacted topic is compacted", compaction)
	check("LogAppendTime", logAppendTime)
	check("a group shares partitions and goes on where it was", groups)
	fmt.Println("done")
}
