"""Many trainings: a folder of runs over a grid of settings, trained by worker processes, read as one data set."""
