"""The tabs: each lays out one state and redraws what changed."""
