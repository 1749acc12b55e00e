package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{ bootstrap string }

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// with runs a body with a client of its own.
func (f franz) with(body func(context.Context, *kgo.Client) error, options ...kgo.Opt) error {
	made, err := kgo.NewClient(append(options, kgo.SeedBrokers(f.bootstrap))...)
	if err != nil {
		return err
	}
	defer made.Close()
	ctx, cancel := within()
	defer cancel()
	return body(ctx, made)
}

func (f franz) create(topic string, count int) error {
	return f.with(func(ctx context.Context, c *kgo.Client) error {
		_, err := kadm.NewClient(c).CreateTopic(ctx, int32(count), 1, nil, topic)
		return err
	})
}

func (f franz) produce(topic string, values []int) error {
	return f.with(func(ctx context.Context, c *kgo.Client) error {
		var records []*kgo.Record
		for _, value := range values {
			records = append(records, &kgo.Record{
				Topic: topic, Partition: int32(value % partitions), Value: []byte(strconv.Itoa(value)),
			})
		}
		return c.ProduceSync(ctx, records...).FirstErr()
	}, kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

func (f franz) admin(topic string) error {
	if err := f.create(topic, 3); err != nil {
		return err
	}
	return f.with(func(ctx context.Context, c *kgo.Client) error {
		admin := kadm.NewClient(c)
		listed := func() (int, error) {
			found, err := admin.ListTopics(ctx)
			return len(found[topic].Partitions), err
		}
		if err := untilListed(3, listed); err != nil {
			return err
		}
		settings, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil || len(settings) != 1 || !hasRetention(settings[0]) {
			return fmt.Errorf("retention.ms is not described: %v", err)
		}
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			return err
		}
		return untilListed(0, listed)
	})
}

func hasRetention(found kadm.ResourceConfig) bool {
	for _, config := range found.Configs {
		if config.Key == "retention.ms" {
			return true
		}
	}
	return false
}

func (f franz) join(topic, group string) (*member, error) {
	m := &member{}
	has := 0
	taken := func(change int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
			has += change * len(moved[topic])
			m.assigned(has)
		}
	}
	made, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(heartbeat),
		kgo.SessionTimeout(session), kgo.OnPartitionsAssigned(taken(1)), kgo.OnPartitionsRevoked(taken(-1)),
		kgo.OnPartitionsLost(taken(-1)))
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := made.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			m.fail(fetches.Err())
			fetches.EachRecord(func(record *kgo.Record) {
				value, err := strconv.Atoi(string(record.Value))
				m.fail(err)
				m.read(value)
			})
		}
	}()
	m.commit = func() error {
		ctx, cancel := within()
		defer cancel()
		return made.CommitUncommittedOffsets(ctx)
	}
	m.leave = func() error {
		made.Close()
		<-done
		return nil
	}
	return m, nil
}
