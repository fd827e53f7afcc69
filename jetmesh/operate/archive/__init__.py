"""Retention: what ended long ago goes to Parquet files and leaves the streams, down to the markers that guard it.

A story is the events of one key in all streams, and what came from outside about it. It has ended once every service
that recorded something about the key recorded one of its declared endings, and nothing about it is left to be done:
acknowledged by every durable, not set aside, no dead letter. One small marker for each owner and key stays in the
streams, for ever or for a declared time: the guard of the key stands on it, and whatever comes late is settled by it.
"""
