"""Trainings compared: a plan of runs, what they found, and what can be said of it."""
