"""One recogniser for many: threads that ask, streams that must not wait."""
