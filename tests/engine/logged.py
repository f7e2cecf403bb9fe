"""What a run's log says to machines."""

import re
from pathlib import Path

import simplejson


def stats_of(cfg):
    """The lines of a run's ``stats.jsonl``, as dicts, in order."""
    text = Path(cfg.OUTPUT_DIR, "stats.jsonl").read_text()
    return [simplejson.loads(line) for line in text.splitlines()]


def stats(text):
    """The ``json_stats`` lines of a log, as dicts, in order: with LOG_JSON_STATS."""
    return [simplejson.loads(line) for line in re.findall(r"json_stats: (\{.*\})", text)]
