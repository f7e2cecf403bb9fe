"""From lists of video files to batches of uint8 clips; start reading at loader.py."""
