"""The connection of a page to its server: the browser says when it is lost, and comes back by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import param
from bokeh.document import Document
from panel.custom import JSComponent

if TYPE_CHECKING:
    from panel.io.server import Server

_LEAVE_SECONDS = 1.0  # at most, before the server ends
_NAME = "connection"  # of its model


class Connection(JSComponent):
    """Asks again and again whether the server answers. While it does not, the page says so and takes no input.

    A server that was only slow finds the page as it was. Where the connection itself is lost, the page is loaded
    again, with its address, as soon as a server is there: `Visits` has what was trained, if it is the same one.
    """

    stopped = param.Boolean(doc="Whether the server was stopped on purpose.")

    # Of the addresses that Bokeh gives every page, this one costs the server least.
    _esm = """
    const EVERY = 800, PATIENCE = 2100, LATE = 200 // milliseconds: less than 3 seconds until a silence is told
    const STYLE = `position: fixed; inset: 0 0 auto 0; z-index: 3000; padding: 12px 16px; text-align: center;
        background: #8c1d18; color: #fff; font: 600 15px/1.4 system-ui, sans-serif;
        box-shadow: 0 0 0 300vmax rgb(128 128 128 / 0.5)` // a veil over the page
    const address = location.pathname.replace(/\\/$/, "") + "/metadata"
    const banner = document.createElement("div")
    banner.setAttribute("role", "alert")
    banner.style.cssText = STYLE
    let known = null // what this script watches; it may be drawn again

    export function render({ model, view }) {
      known ??= watch(model, view.model.document)
    }

    function watch(model, page) {
      let lost = false
      const show = (silent) => {
        const words = model.stopped
          ? "The explorer was stopped on its computer. Started there again, it comes back here by itself."
          : "The server does not answer. This page waits and is trying again …"
        if (silent && banner.textContent !== words) banner.textContent = words
        if (silent === banner.isConnected) return
        for (const part of document.body.children) part.inert = silent
        silent ? document.body.append(banner) : banner.remove()
      }
      const ask = async () => {
        const began = performance.now()
        if (!document.hidden || lost || banner.isConnected) {
          try {
            const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) })
            if (lost && answer.ok) return location.reload()
            show(lost || model.stopped || !answer.ok)
          } catch {
            // Told late that it is over, the browser itself was busy: the answer may have come meanwhile.
            if (performance.now() - began < PATIENCE + LATE) show(true)
          }
        }
        setTimeout(ask, EVERY)
      }
      page.on_event("connection_lost", () => { lost = true; show(true) })
      model.on("stopped", () => show(true))
      setTimeout(ask, EVERY)
      return true
    }
    """

    def __init__(self, document: Document | None = None) -> None:
        super().__init__(name=_NAME, width=0, height=0, margin=0)
        if document is not None:  # Bokeh's own would fill a page that has lost its session
            document.config.update(
                reconnect_session=False, notify_connection_status=False, notifications=None
            )


async def take_leave(server: Server) -> None:
    """Have all pages of a server tell that it was stopped on purpose."""
    told = [
        asyncio.create_task(one.with_document_locked(_say, one.document)) for one in server.get_sessions()
    ]
    if told:
        await asyncio.wait(told, timeout=_LEAVE_SECONDS)


def _say(document: Document) -> None:
    model = document.get_model_by_name(_NAME)
    if model is not None:
        model.stopped = True
