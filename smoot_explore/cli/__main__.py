"""``python -m smoot_explore.cli``, where the command itself is not on the path."""

from smoot_explore.cli.commands import main

main()
