"""What the browser does for a deck: keys that turn, the slide's number in the address, the theme of the system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.custom import JSComponent


class Turning(JSComponent):
    """Tells of keys and writes the address. A slider that was moved by the keyboard keeps its arrow keys."""

    number = param.Integer(default=1, doc="The slide that the address names.")

    _esm = """
    let listens = false // it may be drawn again
    export function render({ model }) {
      const write = () => {
        const address = new URL(location)
        if (Number(address.searchParams.get("slide") ?? 1) === model.number) return
        address.searchParams.set("slide", model.number)
        history.replaceState(null, "", address)
      }
      write()
      model.on("number", write)
      if (listens) return
      listens = true
      const page = Bokeh.documents[0].roots().find((root) => root.class_name === "Page")
      if (page && matchMedia("(prefers-color-scheme: dark)").matches) page.data.dark_theme = true
      document.addEventListener("keydown", (event) => {
        const moves = event.composedPath()[0].matches?.("input, textarea, [role=slider], [role=combobox]")
        if (event.ctrlKey || event.metaKey || event.altKey || (moves && event.key.startsWith("Arrow"))) return
        const step = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[event.key]
        if (!step) return
        event.preventDefault()
        model.send_msg(step)
      })
      // What the mouse has moved gives the arrow keys back; a click on a slider's track moves the focus afterwards.
      const leave = () => {
        let focused = document.activeElement
        while (focused?.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement
        focused?.blur()
      }
      document.addEventListener("pointerup", () => [0, 100].forEach((wait) => setTimeout(leave, wait)))
    }
    """

    def __init__(self, turn: Callable[[int], object], **params: Any) -> None:
        self._turn = turn
        super().__init__(width=0, height=0, margin=0, **params)

    def _handle_msg(self, data: object) -> None:
        if data in (1, -1):  # whatever a page may send
            self._turn(int(data))
