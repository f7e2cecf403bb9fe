"""BatchNorm statistics: those of each sub-network, and over several processes."""
