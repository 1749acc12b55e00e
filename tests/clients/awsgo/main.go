// Keylane through the AWS SDK for Go v2, told where the server is by AWS_ENDPOINT_URL alone.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
)

const first = "shardId-000000000000"

var (
	client *kinesis.Client
	run    = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().Unix())
)

// must ends a cell at an error; cell tells it.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func equal(got, wanted any, what string) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Errorf("%s: got %.150v, wanted %.150v", what, got, wanted))
	}
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if strings.HasSuffix(module.Path, "/service/kinesis") {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}

// cell prints a cell of docs/compatibility.md; without a body the client has no such feature.
func cell(feature string, body func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	made := map[string]any{"section": "kinesis", "client": "AWS SDK for Go", "version": version(), "feature": feature, "result": "yes"}
	func() {
		defer func() {
			if cause := recover(); cause != nil {
				made["result"], made["why"] = "no", fmt.Sprintf("%.400v", cause)
			}
		}()
		if body == nil {
			made["result"] = "none"
			return
		}
		body(ctx)
	}()
	fmt.Printf("cell %s\n", must(json.Marshal(made)))
}

func stream(ctx context.Context, name string, shards int32) *string {
	full := aws.String("go-" + name + "-" + run)
	must(client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: full, ShardCount: &shards}))
	waiter := kinesis.NewStreamExistsWaiter(client)
	must(0, waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: full}, 30*time.Second))
	return full
}

func put(ctx context.Context, name *string, key string) string {
	input := &kinesis.PutRecordInput{StreamName: name, PartitionKey: &key, Data: []byte("a record")}
	return *must(client.PutRecord(ctx, input)).SequenceNumber
}

// read gives all records of a shard from an iterator on, and the last answer.
func read(ctx context.Context, limit int32, in kinesis.GetShardIteratorInput) ([]types.Record, *kinesis.GetRecordsOutput) {
	at := must(client.GetShardIterator(ctx, &in)).ShardIterator
	var records []types.Record
	for {
		answer := must(client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at, Limit: &limit}))
		records, at = append(records, answer.Records...), answer.NextShardIterator
		if at == nil || len(answer.Records) == 0 && *answer.MillisBehindLatest == 0 {
			return records, answer
		}
	}
}

func from(name *string, shard string) kinesis.GetShardIteratorInput {
	return kinesis.GetShardIteratorInput{StreamName: name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
}

func streams(ctx context.Context) {
	name := stream(ctx, "life", 3)
	told := must(client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: name})).StreamDescription
	third := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(3))
	equal(*told.Shards[1].HashKeyRange.StartingHashKey, third.String(), "a hash range")
	equal(time.Since(*told.StreamCreationTimestamp).Abs() < time.Minute, true, "creation time")
	pages, names := kinesis.NewListStreamsPaginator(client, &kinesis.ListStreamsInput{Limit: aws.Int32(1)}), []string{}
	for pages.HasMorePages() {
		names = append(names, must(pages.NextPage(ctx)).StreamNames...)
	}
	equal(slices.Contains(names, *name), true, "the stream in all pages")
	must(client.AddTagsToStream(ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"a": "b"}}))
	tags := must(client.ListTagsForStream(ctx, &kinesis.ListTagsForStreamInput{StreamName: name})).Tags
	equal([]string{*tags[0].Key, *tags[0].Value}, []string{"a", "b"}, "tags")
	must(client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: aws.Int32(48)}))
	summary := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: told.StreamARN})).StreamDescriptionSummary
	equal([]int32{*summary.RetentionPeriodHours, *summary.OpenShardCount}, []int32{48, 3}, "summary")
	must(client.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: name}))
	waiter := kinesis.NewStreamNotExistsWaiter(client)
	must(0, waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: name}, 30*time.Second))
}

func putAndGet(ctx context.Context) {
	name := stream(ctx, "records", 4)
	sent := make([]types.PutRecordsRequestEntry, 300)
	for n := range sent {
		data := []byte(strings.Repeat(fmt.Sprintf("record %d ", n), n%50))
		sent[n] = types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprintf("key-%d", n%10)), Data: data}
	}
	answer := must(client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: sent}))
	equal(*answer.FailedRecordCount, int32(0), "failed")
	wanted := map[string][]string{}
	for n, record := range answer.Records {
		row := *record.SequenceNumber + *sent[n].PartitionKey + string(sent[n].Data)
		wanted[*record.ShardId] = append(wanted[*record.ShardId], row)
	}
	for _, shard := range must(client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name})).Shards {
		records, _ := read(ctx, 37, from(name, *shard.ShardId))
		var got []string
		for _, record := range records {
			got = append(got, *record.SequenceNumber+*record.PartitionKey+string(record.Data))
		}
		equal(got, wanted[*shard.ShardId], "records of "+*shard.ShardId)
	}
}

func iterators(ctx context.Context) {
	name := stream(ctx, "iterators", 1)
	var numbers []string
	for range 10 {
		numbers = append(numbers, put(ctx, name, "k"))
		time.Sleep(2 * time.Millisecond)
	}
	records, _ := read(ctx, 1000, from(name, first))
	for _, kind := range types.ShardIteratorType("").Values() {
		input, wanted := from(name, first), numbers
		input.ShardIteratorType = kind
		switch kind {
		case types.ShardIteratorTypeAtSequenceNumber:
			input.StartingSequenceNumber, wanted = &numbers[4], numbers[4:]
		case types.ShardIteratorTypeAfterSequenceNumber:
			input.StartingSequenceNumber, wanted = &numbers[4], numbers[5:]
		case types.ShardIteratorTypeAtTimestamp:
			input.Timestamp, wanted = records[6].ApproximateArrivalTimestamp, numbers[6:]
		case types.ShardIteratorTypeLatest:
			wanted = nil
		}
		found, _ := read(ctx, 3, input)
		var got []string
		for _, record := range found {
			got = append(got, *record.SequenceNumber)
		}
		equal(len(got), len(wanted), string(kind))
		equal(slices.Equal(got, wanted), true, string(kind))
	}
}

func reshard(ctx context.Context) {
	name := stream(ctx, "reshard", 1)
	put(ctx, name, "k")
	middle := new(big.Int).Lsh(big.NewInt(1), 127).String()
	must(client.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: aws.String(first), NewStartingHashKey: &middle}))
	put(ctx, name, "k")
	records, end := read(ctx, 1000, from(name, first))
	equal(len(records), 1, "the parent's records")
	equal(end.NextShardIterator == nil, true, "the parent's end")
	var children []string
	for _, child := range end.ChildShards {
		equal(child.ParentShards, []string{first}, "parents")
		children = append(children, *child.ShardId)
	}
	equal(children, []string{"shardId-000000000001", "shardId-000000000002"}, "children")
	must(client.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: &children[0], AdjacentShardToMerge: &children[1]}))
	filter := &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}
	open := must(client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name, ShardFilter: filter})).Shards
	equal(len(open), 1, "open shards")
	equal([]string{*open[0].ParentShardId, *open[0].AdjacentParentShardId}, children, "parents of the merged shard")
}

// subscribed gives the keys of a subscription until there are twenty, and where it goes on.
func subscribed(ctx context.Context, consumer *string, position types.StartingPosition, before func()) ([]string, *string) {
	input := &kinesis.SubscribeToShardInput{ConsumerARN: consumer, ShardId: aws.String(first), StartingPosition: &position}
	answer, err := client.SubscribeToShard(ctx, input)
	// Tries again for as long as the subscription before may live.
	for busy, late := new(types.ResourceInUseException), time.Now().Add(10*time.Second); errors.As(err, &busy) && time.Now().Before(late); {
		time.Sleep(200 * time.Millisecond)
		answer, err = client.SubscribeToShard(ctx, input)
	}
	events := must(answer, err).GetStream()
	defer events.Close()
	before()
	var keys []string
	for event := range events.Events() {
		told := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
		for _, record := range told.Records {
			keys = append(keys, *record.PartitionKey)
		}
		if len(keys) >= 20 {
			return keys, told.ContinuationSequenceNumber
		}
	}
	// On a busy machine this SDK now and then closes the connection of a new subscription itself; a server's close reads differently.
	if len(keys) == 0 && errors.Is(events.Err(), net.ErrClosed) {
		return subscribed(ctx, consumer, position, func() {})
	}
	panic(fmt.Errorf("the subscription ended after %d records: %w", len(keys), events.Err()))
}

func subscribe(ctx context.Context) {
	name := stream(ctx, "pushed", 1)
	arn := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})).StreamDescriptionSummary.StreamARN
	register := &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("app")}
	consumer := must(client.RegisterStreamConsumer(ctx, register)).Consumer.ConsumerARN
	var sent []string
	more := func() {
		for range 20 {
			sent = append(sent, fmt.Sprint(len(sent)))
			put(ctx, name, sent[len(sent)-1])
		}
	}
	got, next := subscribed(ctx, consumer, types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}, more)
	after := types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: next}
	rest, _ := subscribed(ctx, consumer, after, more)
	equal(append(got, rest...), sent, "records of two subscriptions")
	must(client.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: consumer}))
	left := must(client.ListStreamConsumers(ctx, &kinesis.ListStreamConsumersInput{StreamARN: arn}))
	equal(len(left.Consumers), 0, "consumers")
}

// refused gives the text of an error that is of type E.
func refused[E smithy.APIError](_ any, err error) string {
	var wanted E
	if !errors.As(err, &wanted) {
		panic(fmt.Errorf("%T expected: %w", wanted, err))
	}
	equal(wanted.ErrorFault(), smithy.FaultClient, "fault")
	return wanted.ErrorMessage()
}

func refusals(ctx context.Context) {
	name := stream(ctx, "errors", 1)
	told := refused[*types.ResourceNotFoundException](client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("nobody")}))
	equal(told, "Stream nobody under account 123456789012 not found.", "text")
	refused[*types.ResourceInUseException](client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}))
	refused[*types.InvalidArgumentException](client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("AAAA")}))
	// The older error of all services: the SDK has no type for it here.
	input := &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: []byte{1}, ExplicitHashKey: aws.String("abc")}
	_, err := client.PutRecord(ctx, input)
	var other smithy.APIError
	equal(errors.As(err, &other) && other.ErrorCode() == "ValidationException", true, fmt.Sprint(err))
}

func main() {
	// One try each: an error that is hidden by a second try is an error.
	settings := must(config.LoadDefaultConfig(context.Background(), config.WithRetryMaxAttempts(1)))
	client = kinesis.NewFromConfig(settings)
	cell("streams", streams)
	cell("put and get", putAndGet)
	cell("iterators", iterators)
	cell("reshard", reshard)
	cell("subscribe", subscribe)
	cell("errors", refusals)
	cell("aggregated records", nil)
	fmt.Println("done")
}
