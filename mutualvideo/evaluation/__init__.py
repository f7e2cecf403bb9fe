"""From a trained network to its query table: calibrate, score, measure, write."""
