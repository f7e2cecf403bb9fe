"""What training and evaluation stand on: files of a run, processes, its log, its end."""
