"""The order flow the plain way on FastStream: pull subscribers, a join in a KV bucket, stock by compare and set.

The same events, the same sandbox bank, the same telemetry exporter; no mail. What a team would write that follows
FastStream's documentation: it keeps no guard, no derived ids, no dead letters.
"""
