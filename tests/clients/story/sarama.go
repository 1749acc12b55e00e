package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{ bootstrap string }

func (s saramaClient) settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = session
	config.Consumer.Group.Heartbeat.Interval = heartbeat
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	return config
}

func (s saramaClient) with(body func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{s.bootstrap}, s.settings())
	if err != nil {
		return err
	}
	defer admin.Close()
	return body(admin)
}

func (s saramaClient) create(topic string, count int) error {
	return s.with(func(admin sarama.ClusterAdmin) error {
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(count), ReplicationFactor: 1}, false)
	})
}

func (s saramaClient) produce(topic string, values []int) error {
	producer, err := sarama.NewSyncProducer([]string{s.bootstrap}, s.settings())
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, value := range values {
		text := sarama.StringEncoder(strconv.Itoa(value))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(value % partitions), Value: text})
	}
	return producer.SendMessages(messages)
}

func (s saramaClient) admin(topic string) error {
	if err := s.create(topic, 3); err != nil {
		return err
	}
	return s.with(func(admin sarama.ClusterAdmin) error {
		listed := func() (int, error) {
			found, err := admin.ListTopics()
			return int(found[topic].NumPartitions), err
		}
		if err := untilListed(3, listed); err != nil {
			return err
		}
		settings, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
		if err != nil {
			return err
		}
		found := false
		for _, each := range settings {
			found = found || each.Name == "retention.ms"
		}
		if !found {
			return fmt.Errorf("retention.ms is not described")
		}
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
		return untilListed(0, listed)
	})
}

// handler is called by sarama for each generation; a commit goes through the session of the present one.
type handler struct {
	*member
	sessions chan sarama.ConsumerGroupSession
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	select {
	case <-h.sessions:
	default:
	}
	h.sessions <- session
	count := 0
	for _, claimed := range session.Claims() {
		count += len(claimed)
	}
	h.assigned(count)
	return nil
}

func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		value, err := strconv.Atoi(string(message.Value))
		h.fail(err)
		session.MarkMessage(message, "")
		h.read(value)
	}
	return nil
}

func (s saramaClient) join(topic, group string) (*member, error) {
	made, err := sarama.NewConsumerGroup([]string{s.bootstrap}, group, s.settings())
	if err != nil {
		return nil, err
	}
	m := &member{}
	h := &handler{m, make(chan sarama.ConsumerGroupSession, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if made.Consume(ctx, []string{topic}, h) != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	m.commit = func() error {
		session := <-h.sessions
		session.Commit()
		h.sessions <- session
		return nil
	}
	m.leave = func() error {
		cancel()
		<-done
		return made.Close()
	}
	return m, nil
}
