"""Retention: stories that ended long ago are moved to Parquet files; in the streams only their markers stay.

A story is the events of one key in all streams, and the messages from outside about it. It has ended once every service
that recorded an event of the key has recorded one of its declared endings, and no work on it is open: every durable has
acknowledged it, no delivery of it is delayed, none is a dead letter. One small marker for each owner and key stays in
the streams, for ever or for a declared time: guards expect its sequence, and late messages about the key are settled by
it.
"""
