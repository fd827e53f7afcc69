"""Backup and restore of a whole mesh, on the broker's own snapshots.

Snapshots of several streams are not of one moment, and what one service recorded is the effect of what another did. So
a backup has a cut: for each stream a last sequence, such that nothing before it has a cause behind it (`cut`). A
restore takes away what lies behind the cut, and so the mesh is as it was at one moment: the beginning of the backup.

What a durable had acknowledged before that moment has its effects in the cut; it is delivered from there on, and the
guards settle what was done. Timers are not taken: what was set aside is delivered again.
"""
