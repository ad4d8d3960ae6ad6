"""The command line: smoot-explore train | sweep | curves | compare | demo | reproduce | serve."""

from smoot_explore.cli.commands import main

__all__ = ["main"]
