// A shop of another team: places an order and waits until it is promised. node shop.mjs NATS_URL ORDER_ID
import { randomBytes, randomUUID } from "node:crypto";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { STREAMS } from "./contracts.js";

/** @typedef {import("./contracts.ts").OrderPlaced} OrderPlaced */
/** @typedef {import("./contracts.ts").OrderConfirmed} OrderConfirmed */

const WITHIN_MILLIS = 30_000;
const [url, orderId] = process.argv.slice(2);

/** @type {OrderPlaced} */
const order = {
  order_id: orderId,
  customer: { customer_id: "c-node", email: "node@example.com" },
  lines: [{ sku: "cola", quantity: 2, unit_price_minor: 290 }],
  currency: "EUR",
  payment_method: "pm_card_visa",
};

const connection = await connect({ servers: url });
const js = jetstream(connection);
const confirmed = await js.consumers.get(STREAMS["orders.confirmed"], {
  filter_subjects: [`orders.confirmed.${orderId}`],
});

const attributes = headers();
const traceparent = `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
attributes.set("ce-specversion", "1.0");
attributes.set("ce-id", randomUUID());
attributes.set("ce-type", "orders.placed");
attributes.set("ce-source", "/shop/node");
attributes.set("ce-datacontenttype", "application/json");
attributes.set("traceparent", traceparent);
await js.publish("orders.placed", JSON.stringify(order), { headers: attributes });

const message = await confirmed.next({ expires: WITHIN_MILLIS });
if (message === null) throw new Error(`order ${orderId} was not confirmed within ${WITHIN_MILLIS} ms`);
const promised = /** @type {OrderConfirmed} */ (message.json());
console.log(
  JSON.stringify({
    order_id: promised.order_id,
    total_minor: promised.total_minor,
    sent: traceparent,
    received: message.headers?.get("traceparent") ?? "",
    type: message.headers?.get("ce-type") ?? "",
  }),
);
await connection.close();
