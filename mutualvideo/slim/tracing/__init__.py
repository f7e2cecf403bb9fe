"""What follows what in a network: its channels, through one instrumented pass."""
