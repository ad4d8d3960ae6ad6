"""A slide for each notebook, for a projector, turned by the arrow keys: `panel serve apps/slides.py`."""

from smoot_explore.compute.cores import compute_on_one_core
from smoot_explore.slides.deck import Deck, asked

compute_on_one_core()  # so small networks are no faster on several, and slower on a busy computer
Deck(number=asked()).page.servable()
