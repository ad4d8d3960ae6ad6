"""Names and lists in words, as the reports have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from smoot_explore.reproduction.statistics import Spread
from smoot_explore.views.palette import METHOD_NAMES, in_words

NOT_YET_RUN = "not yet run"


def name_of(variant: str) -> str:
    """A training method's or a variant's name for people."""
    return METHOD_NAMES.get(variant, variant.replace("-", " "))


def k_text(k: Iterable[Spread | int]) -> str:
    """``"341 ± 3 / 386 ± 1 / 437 ± 5"``."""
    return " / ".join(part.text(0) if isinstance(part, Spread) else str(part) for part in k)


def upper_first(text: str) -> str:
    """The text with a capital letter."""
    return text[0].upper() + text[1:]


def protocol_text(protocol: Any, but: Sequence[str] = ()) -> str:
    """Everything an AUC depends on, in words, without the fields in ``but``."""
    words = {
        "fill": f"{in_words(protocol.fill)} fill",
        "attribution": in_words(protocol.attribution),
        "ranking": protocol.ranking,
        "masked_first": f"{protocol.masked_first} first",
        "precision": protocol.precision,
        "test_images": f"{protocol.test_images:,} test images",
    }
    return ", ".join(text for name, text in words.items() if name not in but)
