"""What halves of a row look like where there is no room for two."""

from smoot_explore.explorer.grid import MIDDLE

# Outdoes the rule of the grid.
ALONE = f"@media (max-width: {MIDDLE - 1}px) {{ :host {{ grid-column: 1 / -1 !important }} }}"
