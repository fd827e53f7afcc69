"""The streams, durable consumers, accounts and keys that the services need, and how a broker gets them."""
