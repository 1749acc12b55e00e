package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const shared = 6

// member is one consumer of a group: what it has read, and how many partitions it has.
type member struct {
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan struct{}
	lock   sync.Mutex
	values map[string]int
	claims int
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.claims = 0
	for _, partitions := range session.Claims() {
		m.claims += len(partitions)
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.lock.Lock()
		m.values[string(message.Value)]++
		m.lock.Unlock()
		session.MarkMessage(message, "")
	}
	return nil
}

func (m *member) has() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.claims
}

func join(group, topic string) (*member, error) {
	config := settings()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	made, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: made, cancel: cancel, done: make(chan struct{}), values: map[string]int{}}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if made.Consume(ctx, []string{topic}, m) != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return m, nil
}

func (m *member) leave() error {
	m.cancel()
	<-m.done
	return m.group.Close()
}

func until(what string, ready func() bool) error {
	for range 300 {
		if ready() {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("not within 30 s: %s", what)
}

// total counts the values that members have read, and how often the most frequent one was.
func total(members ...*member) (int, int) {
	all, most := map[string]int{}, 0
	for _, m := range members {
		m.lock.Lock()
		for value, count := range m.values {
			all[value] += count
			most = max(most, all[value])
		}
		m.lock.Unlock()
	}
	return len(all), most
}

func fill(topic, label string) error {
	var messages []*sarama.ProducerMessage
	for i := range 60 {
		value := sarama.StringEncoder(fmt.Sprintf("%s %d", label, i))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(i % shared), Value: value})
	}
	return produce(settings(), messages)
}

func groups() error {
	topic := "sarama-group-" + run
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, settings())
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: shared, ReplicationFactor: 1}, false); err != nil {
		return err
	}
	if err := fill(topic, "first"); err != nil {
		return err
	}
	one, err := join(topic, topic)
	if err != nil {
		return err
	}
	if err := until("60 records", func() bool { n, _ := total(one); return n == 60 }); err != nil {
		return err
	}
	two, err := join(topic, topic)
	if err != nil {
		return err
	}
	if err := until("three partitions each", func() bool { return one.has() == 3 && two.has() == 3 }); err != nil {
		return err
	}
	if err := fill(topic, "second"); err != nil {
		return err
	}
	if err := until("120 records", func() bool { n, _ := total(one, two); return n == 120 }); err != nil {
		return err
	}
	if _, most := total(one, two); most != 1 {
		return fmt.Errorf("a record was read %d times", most)
	}
	if err := two.leave(); err != nil {
		return err
	}
	if err := until("all partitions again", func() bool { return one.has() == shared }); err != nil {
		return err
	}
	if err := one.leave(); err != nil {
		return err
	}
	if err := fill(topic, "third"); err != nil {
		return err
	}
	three, err := join(topic, topic)
	if err != nil {
		return err
	}
	if err := until("the rest", func() bool { n, _ := total(three); return n >= 60 }); err != nil {
		return err
	}
	if n, most := total(three); n != 60 || most != 1 {
		return fmt.Errorf("%d records after all had left, one of them %d times", n, most)
	}
	return three.leave()
}
