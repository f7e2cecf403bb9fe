"""Files of released and trained weights, and how their parameters are named."""
