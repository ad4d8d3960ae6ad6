"""``python -m smoot_explore``, as ``torchrun -m smoot_explore`` starts it."""

from smoot_explore.cli.commands import main

main()
