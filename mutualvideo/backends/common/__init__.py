"""What backends share; every other module of ``mutualvideo.backends`` is one backend."""
