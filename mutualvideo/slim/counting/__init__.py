"""What sub-networks cost."""
