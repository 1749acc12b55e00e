package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

type kafkaGo struct{ bootstrap string }

func (k kafkaGo) client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(k.bootstrap), Timeout: 20 * time.Second}
}

func (k kafkaGo) create(topic string, count int) error {
	ctx, cancel := within()
	defer cancel()
	made, err := k.client().CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: count, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	return made.Errors[topic]
}

// modulo sends a value to the partition that a story wants.
type modulo struct{}

func (modulo) Balance(message kafka.Message, _ ...int) int {
	value, _ := strconv.Atoi(string(message.Value))
	return value % partitions
}

func (k kafkaGo) produce(topic string, values []int) error {
	writer := &kafka.Writer{Addr: kafka.TCP(k.bootstrap), Topic: topic, RequiredAcks: kafka.RequireAll, Balancer: modulo{},
		BatchTimeout: 10 * time.Millisecond}
	var messages []kafka.Message
	for _, value := range values {
		messages = append(messages, kafka.Message{Value: []byte(strconv.Itoa(value))})
	}
	ctx, cancel := within()
	defer cancel()
	return errors.Join(writer.WriteMessages(ctx, messages...), writer.Close())
}

// listed is the number of a topic's partitions, 0 if there is none.
func (k kafkaGo) listed(topic string) (int, error) {
	ctx, cancel := within()
	defer cancel()
	found, err := k.client().Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return 0, err
	}
	for _, each := range found.Topics {
		if each.Name == topic {
			return len(each.Partitions), nil
		}
	}
	return 0, nil
}

func (k kafkaGo) admin(topic string) error {
	if err := k.create(topic, 3); err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	listed := func() (int, error) { return k.listed(topic) }
	if err := untilListed(3, listed); err != nil {
		return err
	}
	settings, err := k.client().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil || len(settings.Resources) != 1 {
		return fmt.Errorf("settings: %v", err)
	}
	found := false
	for _, entry := range settings.Resources[0].ConfigEntries {
		found = found || entry.ConfigName == "retention.ms"
	}
	if !found {
		return errors.New("retention.ms is not described")
	}
	gone, err := k.client().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil || gone.Errors[topic] != nil {
		return errors.Join(err, gone.Errors[topic])
	}
	return untilListed(0, listed)
}

// join runs generations by hand, as the client's Reader does, since a Reader does not tell which partitions it has.
func (k kafkaGo) join(topic, group string) (*member, error) {
	made, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{ID: group, Brokers: []string{k.bootstrap}, Topics: []string{topic},
		HeartbeatInterval: heartbeat, SessionTimeout: session, StartOffset: kafka.FirstOffset})
	if err != nil {
		return nil, err
	}
	m := &member{}
	ctx, cancel := context.WithCancel(context.Background())
	run := &generations{kafkaGo: k, member: m, topic: topic}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			generation, err := made.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			if err == nil {
				run.start(generation)
			}
		}
	}()
	m.commit = run.commit
	m.leave = func() error {
		cancel()
		err := made.Close()
		<-done
		return err
	}
	return m, nil
}

// generations reads the partitions of one generation after the other.
type generations struct {
	kafkaGo
	*member
	topic   string
	present *kafka.Generation
	next    map[int]int64
}

func (g *generations) start(generation *kafka.Generation) {
	assigned := generation.Assignments[g.topic]
	g.lock.Lock()
	g.present, g.next, g.count = generation, map[int]int64{}, len(assigned)
	g.lock.Unlock()
	for _, each := range assigned {
		generation.Start(func(ctx context.Context) {
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{g.bootstrap}, Topic: g.topic, Partition: each.ID,
				MaxWait: 200 * time.Millisecond})
			defer reader.Close()
			g.fail(reader.SetOffset(each.Offset))
			for {
				message, err := reader.ReadMessage(ctx)
				if ctx.Err() != nil || errors.Is(err, io.EOF) {
					return
				}
				g.fail(err)
				value, err := strconv.Atoi(string(message.Value))
				g.fail(err)
				g.lock.Lock()
				g.values = append(g.values, value)
				g.next[each.ID] = message.Offset + 1
				g.lock.Unlock()
			}
		})
	}
}

func (g *generations) commit() error {
	g.lock.Lock()
	defer g.lock.Unlock()
	return g.present.CommitOffsets(map[string]map[int]int64{g.topic: g.next})
}
