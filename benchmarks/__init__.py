"""Speed as ratios of interleaved runs: python -m benchmarks (or make benchmark)."""
