"""What follows what in a network: the origin of every channel, found by running it.

``labels``: one number for each channel that a layer makes. ``rules``: how torch's operations pass
labels on; ``flow`` applies them. ``trace``: one pass at full width. ``channel_blocks``: which
channels become inactive together, from what the passes showed. ``proof``: passes at other widths,
which must be the full one's with the inactive channels left out, operation by operation.
"""
