"""Which row answers, under which budget, and when. Pure Python: neither torch nor threads."""
