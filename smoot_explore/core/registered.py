"""What the user has registered, for worker processes to know it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smoot_explore.core.choices import REGISTERED, register_apart
from smoot_explore.core.masking import Fill, own_fills, register_fill
from smoot_explore.core.rules import KRule, own_k_rules, register_k_rule
from smoot_explore.core.saliency import register_attribution


class Registered:
    """Rules of k, fills and attribution methods of the user's own, to be known in another process too."""

    def __init__(self) -> None:
        self.rules: Mapping[str, tuple[KRule, float | None]] = own_k_rules()
        self.fills: Mapping[str, Fill] = own_fills()
        self.attributions: Mapping[str, Callable[..., Any]] = dict(REGISTERED["attribution"])

    def register(self) -> None:
        """Make them known in this thread, which computes for their user until it calls this for another."""
        register_apart()
        for name, (rule, start) in self.rules.items():
            register_k_rule(name, rule, start)
        for name, fill in self.fills.items():
            register_fill(name, fill)
        for name, attribute in self.attributions.items():
            register_attribution(name, attribute)
