package com.example;

import io.nats.client.Connection;
import io.nats.client.JetStreamSubscription;
import io.nats.client.Message;
import io.nats.client.PullSubscribeOptions;
import io.nats.client.support.JsonParser;
import io.nats.client.support.JsonValue;
import java.nio.file.Path;
import java.time.Duration;

/** Reads confirmed orders through the team's own durable, which the owner has made. */
public final class PackOrders {
  private PackOrders() {}

  /** {@code java com.example.PackOrders URL TEAM SEED DURABLE COUNT}: until so many were packed. */
  public static void main(String[] arguments) throws Exception {
    int count = Integer.parseInt(arguments[4]);
    try (Connection mesh = Mesh.connect(arguments[0], arguments[1], Path.of(arguments[2]))) {
      PullSubscribeOptions durable = PullSubscribeOptions.fastBind("ORDERS", arguments[3]);
      JetStreamSubscription orders = mesh.jetStream(Mesh.API).subscribe(null, durable);
      for (int packed = 0; packed < count; ) {
        for (Message message : orders.fetch(count - packed, Duration.ofSeconds(1))) {
          pack(message);
          message.ackSync(Duration.ofSeconds(5));
          packed++;
        }
        if (mesh.getLastError() != null) {
          throw new IllegalStateException(mesh.getLastError());
        }
      }
    }
  }

  /** A delivery may come twice: what is done here must bear that. Fields that are unknown are left alone. */
  private static void pack(Message message) throws Exception {
    JsonValue event = JsonParser.parse(message.getData());
    String type = message.getHeaders().getFirst("ce-type");
    System.out.println(type + " " + event.map.get("order_id").string + " trace " + traceId(message));
  }

  /** The trace in which the event was recorded: a span of ours would be its child. */
  private static String traceId(Message message) {
    String traceparent = message.getHeaders().getFirst("traceparent");
    return traceparent == null ? "-" : traceparent.split("-")[1];
  }
}
