"""How each of torch's operations passes labels on: one rule a kind, and an allow-list of kinds.

A rule gets a ``Call`` and returns the shadows of its results. What it cannot follow it raises as
``Unfollowed``: then all channels that go in are pinned, and what comes out is whole. So is
everything that an operation without a rule reads.
"""
