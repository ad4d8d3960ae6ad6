"""The browser's address: read when the page begins, and kept in step with what the page shows."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import panel as pn

from smoot_explore.explorer.state.address import Address

REST_SECONDS = 0.5  # everything must rest so long before the address follows: that costs the browser time


class Location:
    """Reads the address that a visitor came by, and writes that of the present view."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._written: dict[str, str] = {}
        self._moved_to: dict[str, str] = {}
        self._moved_time = time.monotonic()

    def asked(self) -> dict[str, str]:
        """What the visitor's address says."""
        arguments = pn.state.session_args or {}
        return {name: values[0].decode("utf-8", "replace") for name, values in arguments.items() if values}

    def follow(self) -> None:
        """Write the address of the present view, once that has come to rest; called by the clock."""
        if pn.state.location is None:
            return
        now, address = time.monotonic(), self._address.write()
        if address != self._moved_to:
            self._moved_to, self._moved_time = address, now
        elif address != self._written and now - self._moved_time > REST_SECONDS:
            self._written = address
            pn.state.location.search = f"?{urlencode(address)}" if address else ""
