"""What the JSON of a query table looks like, for those who read it with something else."""

from __future__ import annotations

from typing import Any

from mutualvideo.table.query import FORMAT, VERSION
from mutualvideo.table.row import PERCENT, STATISTICS, TIMES

_SUBNET = r"^\d*\.?\d+(x\d+)?x\d+$"


def query_table_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``QueryTable.save_json``, as a dict."""
    nullable = {"top": ("number", 100), "time": ("number", None), "count": ("integer", None)}

    def either(kind: str) -> dict[str, Any]:
        of, maximum = nullable[kind]
        limits = {"minimum": 0} if maximum is None else {"minimum": 0, "maximum": maximum}
        return {"anyOf": [{"type": of, **limits}, {"type": "null"}]}

    fields = {
        "subnet": {"type": "string", "pattern": _SUBNET},
        "macs": {"type": "integer", "minimum": 1},
        "params": {"type": "integer", "minimum": 0},
        "macs_per_video": either("count"),
        **{name: either("top") for name in PERCENT},
        **{name: either("time") for name in TIMES},
        "statistics": {"enum": list(STATISTICS)},
    }
    row = {
        "type": "object",
        "properties": fields,
        "required": ["subnet", "macs", "params"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Query table of mutualvideo",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "version": {"type": "integer", "minimum": 1, "maximum": VERSION},
            "metadata": {"type": "object"},
            "rows": {"type": "array", "items": row},
        },
        "required": ["format", "version", "metadata", "rows"],
        "additionalProperties": False,
    }
