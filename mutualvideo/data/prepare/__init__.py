"""What is done to videos once, before training: check, re-encode, make toys."""
