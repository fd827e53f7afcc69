// Command cloudevents reads one recorded event with the CloudEvents SDK and prints it as the SDK understood it, then
// publishes a body as an event of its own. cloudevents NATS_URL STREAM SUBJECT TYPE BODY
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	protocol "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/nats-io/nats.go"
)

func main() {
	url, stream, subject, kind := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	event := read(ctx, url, stream, subject)
	encoded, err := event.MarshalJSON()
	check(err)
	_, err = os.Stdout.Write(append(encoded, '\n'))
	check(err)
	publish(ctx, url, stream, kind, []byte(os.Args[5]))
}

func read(ctx context.Context, url, stream, subject string) *cloudevents.Event {
	connection, err := nats.Connect(url)
	check(err)
	defer connection.Close()
	js, err := connection.JetStream()
	check(err)
	subscription, err := js.SubscribeSync(subject, nats.BindStream(stream), nats.DeliverAll())
	check(err)
	message, err := subscription.NextMsgWithContext(ctx)
	check(err)
	event, err := binding.ToEvent(ctx, protocol.NewMessage(message))
	check(err)
	return event
}

func publish(ctx context.Context, url, stream, kind string, body []byte) {
	sender, err := protocol.NewSender(url, stream, kind, nil, nil)
	check(err)
	defer func() { check(sender.Close(ctx)) }()
	client, err := cloudevents.NewClient(sender)
	check(err)
	event := cloudevents.NewEvent()
	event.SetID("go-sdk-1")
	event.SetSource("https://shop.example.com/go")
	event.SetType(kind)
	event.SetExtension("correlationid", "größe 50%")
	check(event.SetData(cloudevents.ApplicationJSON, json.RawMessage(body)))
	if result := client.Send(ctx, event); !cloudevents.IsACK(result) {
		log.Fatal(result)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
