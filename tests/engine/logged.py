"""What a run's log says to machines."""

import re

import simplejson


def stats(text):
    """The ``json_stats`` lines of a log, as dicts, in order."""
    return [simplejson.loads(line) for line in re.findall(r"json_stats: (\{.*\})", text)]
