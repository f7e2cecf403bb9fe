"""One recogniser for many callers: threads that ask, streams that must not wait."""
