"""Labelled images: loaded by name, from folders, or generated."""
