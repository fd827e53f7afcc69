package com.example;

import io.nats.client.Connection;
import io.nats.client.Message;
import io.nats.client.api.PublishAck;
import io.nats.client.impl.Headers;
import io.nats.client.impl.NatsMessage;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.UUID;

/** Places an order from outside, and waits until it is known what became of it. */
public final class PlaceOrder {
  private static final String[] ENDS = {"orders.placed", "orders.refused"};
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private PlaceOrder() {}

  /** {@code java com.example.PlaceOrder URL TEAM SEED ORDER_ID BODY}. */
  public static void main(String[] arguments) throws Exception {
    String orderId = arguments[3];
    byte[] body = Files.readAllBytes(Path.of(arguments[4]));
    try (Connection mesh = Mesh.connect(arguments[0], arguments[1], Path.of(arguments[2]))) {
      PublishAck stored = mesh.jetStream(Mesh.API).publish(message(arguments[1], orderId, body));
      System.out.println("stored " + stored.getStream());
      System.out.println(outcome(mesh, orderId));
    }
  }

  /** On the type as the subject, without a key: the owner checks it, and records it under its key. */
  private static NatsMessage message(String team, String orderId, byte[] body) {
    Headers headers =
        new Headers()
            .put("ce-specversion", "1.0")
            .put("ce-id", UUID.randomUUID().toString())
            .put("ce-type", "orders.placed")
            .put("ce-source", "/" + team)
            .put("ce-subject", orderId)
            .put("ce-time", Instant.now().toString())
            .put("ce-datacontenttype", "application/json");
    return NatsMessage.builder().subject("orders.placed").headers(headers).data(body).build();
  }

  /** The newest event of each type about the order: whichever the owner recorded. */
  private static String outcome(Connection mesh, String orderId) throws InterruptedException {
    Instant end = Instant.now().plus(PATIENCE);
    while (Instant.now().isBefore(end)) {
      for (String type : ENDS) {
        String subject = "jetmesh.api.DIRECT.GET.ORDERS." + type + "." + orderId;
        Message answer = mesh.request(subject, new byte[0], Duration.ofSeconds(2));
        if (answer != null && !(answer.hasHeaders() && answer.isStatusMessage()) && answer.getData().length > 0) {
          return type + " " + new String(answer.getData(), StandardCharsets.UTF_8);
        }
      }
      Thread.sleep(100);
    }
    return "not decided within " + PATIENCE.toSeconds() + " s";
  }
}
