"""Backup and restore of a whole mesh, on the broker's own snapshots.

Snapshots of several streams are taken at different moments, and an event in one stream is often caused by an event in
another. So a backup has a cut: for each stream a last sequence, such that no message before it has its cause after it
(`cut`). A restore removes the messages after the cut, and so the mesh is as it was at one moment: the beginning of the
backup.

The effects of messages that a durable had acknowledged before that moment are in the cut. It delivers from there on,
and the guards settle messages that were handled before. Timers are not in the backup: delayed redeliveries are
delivered again.
"""
