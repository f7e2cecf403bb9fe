"""The query table: rows of costs and accuracies, budgets in and rows out, its picture."""

from mutualvideo.table.query import QueryTable, Row

__all__ = ["QueryTable", "Row"]
