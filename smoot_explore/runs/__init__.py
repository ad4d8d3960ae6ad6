"""Runs: trainings on disk, and runs side by side."""
