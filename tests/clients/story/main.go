// What every client is asked to do, as ../story.py tells it, with the clients of Go. The first argument is a client, the
// second the address of a broker.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	partitions = 4
	heartbeat  = 300 * time.Millisecond
	session    = 10 * time.Second
)

// client is what a story needs of a client.
type client interface {
	create(topic string, partitions int) error
	produce(topic string, values []int) error
	admin(topic string) error
	join(topic, group string) (*member, error)
}

// member is a consumer of a group: what it has read and how many partitions it has are kept up to date by its client.
type member struct {
	lock   sync.Mutex
	values []int
	count  int
	failed error
	commit func() error
	leave  func() error
}

func (m *member) read(value int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.values = append(m.values, value)
}

func (m *member) assigned(count int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.count = count
}

func (m *member) fail(err error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.failed = errors.Join(m.failed, err)
}

// state is a copy of what the member has read, the number of its partitions, and its error.
func (m *member) state() ([]int, int, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return slices.Clone(m.values), m.count, m.failed
}

func numbers(first, last int) []int {
	all := make([]int, 0, last-first)
	for i := first; i < last; i++ {
		all = append(all, i)
	}
	return all
}

func until(what string, ready func() (bool, error)) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done, err := ready(); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("not within 30 s: %s", what)
}

// untilRead waits until members have read as many values, and wants exactly these.
func untilRead(wanted []int, skip int, members ...*member) error {
	var got []int
	err := until(fmt.Sprintf("%d records", len(wanted)), func() (bool, error) {
		got = nil
		for _, m := range members {
			values, _, err := m.state()
			if err != nil {
				return false, err
			}
			got = append(got, values...)
		}
		return len(got) >= skip+len(wanted), nil
	})
	if err != nil {
		return fmt.Errorf("%w, but %d", err, len(got)-skip)
	}
	got = got[skip:]
	slices.Sort(got)
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("got %v, wanted %v", got, wanted)
	}
	return nil
}

// untilListed waits until a topic is listed with so many partitions; 0 if it is to be gone. The broker that made a topic may
// tell others of it a moment later.
func untilListed(count int, listed func() (int, error)) error {
	return until(fmt.Sprintf("%d partitions listed", count), func() (bool, error) {
		has, err := listed()
		return has == count, err
	})
}

func untilAssigned(count int, members ...*member) error {
	return until(fmt.Sprintf("%d partitions each", count), func() (bool, error) {
		for _, m := range members {
			if _, has, err := m.state(); has != count || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

type story struct {
	client       client
	topic, group string
	first        *member
}

func (s *story) produce() error {
	if err := s.client.create(s.topic, partitions); err != nil {
		return err
	}
	return s.client.produce(s.topic, numbers(0, 100))
}

func (s *story) consume() (err error) {
	if s.first, err = s.client.join(s.topic, s.group); err != nil {
		return err
	}
	if err := untilRead(numbers(0, 100), 0, s.first); err != nil {
		return err
	}
	return untilAssigned(partitions, s.first)
}

func (s *story) rebalance() error {
	if err := s.first.commit(); err != nil {
		return err
	}
	second, err := s.client.join(s.topic, s.group)
	if err != nil {
		return err
	}
	if err := untilAssigned(partitions/2, s.first, second); err != nil {
		return err
	}
	if err := s.client.produce(s.topic, numbers(100, 200)); err != nil {
		return err
	}
	if err := untilRead(numbers(0, 200), 0, s.first, second); err != nil {
		return err
	}
	if values, _, _ := second.state(); len(values) == 0 {
		return errors.New("the second member reads nothing")
	}
	if err := errors.Join(s.first.commit(), second.commit(), second.leave()); err != nil {
		return err
	}
	return untilAssigned(partitions, s.first)
}

func (s *story) resume() error {
	values, _, _ := s.first.state()
	if err := s.client.produce(s.topic, numbers(200, 220)); err != nil {
		return err
	}
	if err := untilRead(numbers(200, 220), len(values), s.first); err != nil {
		return fmt.Errorf("alone: %w", err)
	}
	if err := errors.Join(s.first.commit(), s.first.leave()); err != nil {
		return err
	}
	if err := s.client.produce(s.topic, numbers(220, 240)); err != nil {
		return err
	}
	third, err := s.client.join(s.topic, s.group)
	if err != nil {
		return err
	}
	if err := untilRead(numbers(220, 240), 0, third); err != nil {
		return fmt.Errorf("after all had left: %w", err)
	}
	return third.leave()
}

type cell struct {
	Section string `json:"section"`
	Client  string `json:"client"`
	Version string `json:"version"`
	Feature string `json:"feature"`
	Result  string `json:"result"`
	Why     string `json:"why,omitempty"`
}

// version is the one of go.mod.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, each := range info.Deps {
		if each.Path == module {
			return each.Version[1:]
		}
	}
	return "?"
}

func tell(name, module string, made client) {
	topic := fmt.Sprintf("story-%s-%d-%d", path.Base(name), os.Getpid(), time.Now().Unix())
	s := &story{client: made, topic: topic, group: topic + "-group"}
	for _, each := range []struct {
		feature string
		test    func() error
	}{
		{"admin", func() error { return made.admin(topic + "-admin") }},
		{"produce", s.produce}, {"consume by group", s.consume}, {"rebalance", s.rebalance}, {"commit and resume", s.resume},
	} {
		result := cell{"kafka", name, version(module), each.feature, "yes", ""}
		if err := attempt(each.test); err != nil {
			result.Result, result.Why = "no", fmt.Sprintf("%.400s", err)
		}
		line, _ := json.Marshal(result)
		fmt.Printf("cell %s\n", line)
	}
	fmt.Println("done")
}

// attempt runs a test; one that needs what an earlier one did not leave fails.
func attempt(test func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return test()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "story CLIENT HOST:PORT")
		os.Exit(2)
	}
	bootstrap := os.Args[2]
	switch os.Args[1] {
	case "franz-go":
		tell("franz-go", "github.com/twmb/franz-go", franz{bootstrap})
	case "sarama":
		tell("sarama", "github.com/IBM/sarama", saramaClient{bootstrap})
	case "kafka-go":
		tell("segmentio/kafka-go", "github.com/segmentio/kafka-go", kafkaGo{bootstrap})
	default:
		fmt.Fprintln(os.Stderr, "clients: franz-go sarama kafka-go")
		os.Exit(2)
	}
}
