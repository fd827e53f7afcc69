// One hop on Watermill's JetStream, as a process of the benchmark: see benchmarks/contenders/__main__.py for its lines.
//
// A subscriber of Watermill handles one message at a time, so concurrency is a number of handlers on the same durable.
// Each waits until its outcome is stored; acknowledgements are not waited for (AckAsync).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

const (
	source     = "ORDERS"
	durable    = "payments-authorize"
	authorized = "payments.authorized.all"
	retries    = 3
)

type customer struct {
	CustomerID string `json:"customer_id"`
	Email      string `json:"email"`
}

type line struct {
	SKU            string `json:"sku"`
	Quantity       int    `json:"quantity"`
	UnitPriceMinor int    `json:"unit_price_minor"`
}

type order struct {
	OrderID       string   `json:"order_id"`
	Customer      customer `json:"customer"`
	Lines         []line   `json:"lines"`
	Currency      string   `json:"currency"`
	PaymentMethod string   `json:"payment_method"`
}

type outcome struct {
	OrderID         string `json:"order_id"`
	AuthorizationID string `json:"authorization_id"`
	AmountMinor     int    `json:"amount_minor"`
	Currency        string `json:"currency"`
}

// authorize decides what every contender decides.
func authorize(placed order) outcome {
	total := 0
	for _, each := range placed.Lines {
		total += each.Quantity * each.UnitPriceMinor
	}
	return outcome{placed.OrderID, "pi_" + placed.OrderID, total, placed.Currency}
}

// handle reads an order and returns its outcome; the router publishes it, and acknowledges the order after that. The id
// that drops a duplicate while the stream remembers it is derived from the order's.
func handle(received *message.Message) ([]*message.Message, error) {
	var placed order
	if err := json.Unmarshal(received.Payload, &placed); err != nil {
		return nil, err
	}
	body, err := json.Marshal(authorize(placed))
	if err != nil {
		return nil, err
	}
	recorded := message.NewMessage("payments-"+received.UUID, body)
	recorded.Metadata.Set(nats.MsgIdHdr, recorded.UUID)
	return []*message.Message{recorded}, nil
}

// hop builds the router with so many handlers on the durable that the mesh declares.
func hop(url string, handlers int) (*message.Router, error) {
	logger := watermill.NopLogger{}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(middleware.Retry{MaxRetries: retries, Logger: logger}.Middleware, middleware.Recoverer)
	publisher, err := jetstream.NewPublisher(jetstream.PublisherConfig{URL: url, Logger: logger})
	if err != nil {
		return nil, err
	}
	subscriber, err := jetstream.NewSubscriber(jetstream.SubscriberConfig{
		URL:                 url,
		Logger:              logger,
		AckAsync:            true,
		ResourceInitializer: jetstream.ExistingConsumer(named, ""),
		ConsumeOptions:      []natsjs.PullConsumeOpt{natsjs.PullMaxMessages(max(2, 512/handlers))},
	})
	if err != nil {
		return nil, err
	}
	for number := range handlers {
		router.AddHandler(fmt.Sprintf("authorize-%d", number), source, subscriber, authorized, publisher, handle)
	}
	return router, nil
}

// named is the durable of the mesh, whatever the topic.
func named(string, string) natsjs.ConsumerConfig {
	return natsjs.ConsumerConfig{Name: durable}
}

// used is user and system time of this process, in seconds, and its largest resident set, in bytes.
func used() (float64, int64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	spent := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return spent.Seconds(), usage.Maxrss * 1024
}

func main() {
	handlers, err := strconv.Atoi(os.Getenv("WATERMILL_HANDLERS"))
	if err != nil {
		log.Fatalf("WATERMILL_HANDLERS: %v", err)
	}
	lines := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	lines.Scan()
	before, _ := used()
	router, err := hop(os.Getenv("NATS_URL"), handlers)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	lines.Scan()
	if err := router.Close(); err != nil {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	after, resident := used()
	fmt.Printf("{\"cpu_seconds\": %f, \"rss_bytes\": %d}\n", after-before, resident)
}
