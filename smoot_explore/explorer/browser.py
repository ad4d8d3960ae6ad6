"""What the browser remembers of its visitor between visits, and the keys that are pressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import panel as pn
import param
from panel.custom import JSComponent

from smoot_explore.explorer.grid import NARROW

_DARK, _GUIDE = "smoot_explore-dark", "smoot_explore-guide"
COOKIES = [_DARK, _GUIDE]  # names of those that the server is to know before it sends the page


class Browser(JSComponent):
    """What a page needs to know of the browser that shows it.

    Parameters
    ----------
    keys
        What each key does; keys that are typed into a text are the text's.
    """

    dark = param.Boolean(doc="Whether the visitor wants the dark theme; at first as the system has it.")
    guide = param.Boolean(default=True, doc="Whether the guide of the first visit is shown.")
    known = param.Boolean(default=False, doc="Whether the browser has told of itself.")
    keys = param.List(default=[], item_type=str, doc="The keys that the page wants to be told of.")
    narrow_below = param.Integer(default=NARROW, doc="Width of the page in pixels.")

    _esm = f"""
    const write = (name, value) => {{
      document.cookie = `${{name}}=${{value}}; path=/; max-age=31536000; SameSite=Strict`
    }}
    let listens = false // it may be drawn again
    export function render({{ model }}) {{
      if (!document.cookie.includes("{_DARK}=")) model.dark = matchMedia("(prefers-color-scheme: dark)").matches
      const page = Bokeh.documents[0].roots().find((root) => root.class_name === "Page")
      if (page && innerWidth < model.narrow_below) page.data.sidebar_open = false // it would cover all
      model.known = true
      model.on("dark", () => write("{_DARK}", Number(model.dark)))
      model.on("guide", () => write("{_GUIDE}", Number(model.guide)))
      if (listens) return
      listens = true
      document.addEventListener("keydown", (event) => {{
        const target = event.composedPath()[0]
        const texts = "textarea, input:not([type=range], [type=checkbox], [type=radio]), [role=combobox]"
        const types = target.matches?.(texts)
        if (types || event.ctrlKey || event.metaKey || event.altKey || !model.keys.includes(event.key)) return
        event.preventDefault()
        model.send_msg(event.key)
      }})
    }}
    """

    def __init__(self, keys: Mapping[str, Callable[[], object]]) -> None:
        self._acts = dict(keys)
        cookies = pn.state.cookies
        super().__init__(
            dark=cookies.get(_DARK) == "1", guide=cookies.get(_GUIDE) != "0", keys=list(keys), width=0,
            height=0, margin=0,
        )  # fmt: skip

    def _handle_msg(self, data: object) -> None:
        if isinstance(data, str) and data in self._acts:  # whatever a page may send
            self._acts[data]()
