// Command shop is another team's: it places an order and waits until it is promised. shop NATS_URL ORDER_ID
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"example.com/jetmesh/contracts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const within = 30 * time.Second

func main() {
	url, orderID := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	connection, err := nats.Connect(url)
	check(err)
	defer connection.Close()
	js, err := jetstream.New(connection)
	check(err)
	confirmed, err := js.OrderedConsumer(ctx, "ORDERS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{contracts.TypeOrderConfirmed + "." + orderID},
	})
	check(err)
	sent := traceparent()
	check(place(ctx, js, order(orderID), sent))
	message, err := confirmed.Next(jetstream.FetchMaxWait(within))
	check(err)
	var promised contracts.OrderConfirmed
	check(json.Unmarshal(message.Data(), &promised))
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"order_id":    promised.OrderID,
		"total_minor": promised.TotalMinor,
		"sent":        sent,
		"received":    message.Headers().Get("traceparent"),
		"type":        message.Headers().Get("ce-type"),
	}))
}

func order(id string) contracts.OrderPlaced {
	return contracts.OrderPlaced{
		OrderID:       id,
		Customer:      contracts.Customer{CustomerID: "c-go", Email: "go@example.com"},
		Lines:         []contracts.Line{{SKU: "cola", Quantity: 2, UnitPriceMinor: 290}},
		Currency:      "EUR",
		PaymentMethod: "pm_card_visa",
	}
}

func place(ctx context.Context, js jetstream.JetStream, order contracts.OrderPlaced, traceparent string) error {
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	message := nats.NewMsg(contracts.TypeOrderPlaced)
	message.Data = body
	message.Header["ce-specversion"] = []string{"1.0"}
	message.Header["ce-id"] = []string{"go-" + order.OrderID}
	message.Header["ce-type"] = []string{contracts.TypeOrderPlaced}
	message.Header["ce-source"] = []string{"/shop/go"}
	message.Header["ce-datacontenttype"] = []string{"application/json"}
	message.Header["traceparent"] = []string{traceparent}
	_, err = js.PublishMsg(ctx, message)
	return err
}

func traceparent() string {
	random := make([]byte, 24)
	_, err := rand.Read(random)
	check(err)
	return fmt.Sprintf("00-%s-%s-01", hex.EncodeToString(random[:16]), hex.EncodeToString(random[16:]))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
