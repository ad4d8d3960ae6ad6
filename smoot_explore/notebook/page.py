"""What the page of a notebook is given: BokehJS, and what ipywidgets leave out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
from bokeh.resources import Resources
from IPython import get_ipython
from IPython.display import Javascript, display

LIVE, CONTROLS, PROJECTOR, DEAD = (
    "smoot-live",
    "smoot-controls",
    "smoot-projector",
    "smoot-dead",
)  # CSS classes
_made: dict[str, tuple[str, list[widgets.Widget]]] = {}  # by cell: its latest run, and what it has made
_OUTPUT = re.compile(r"_{1,3}|_?\d+")  # names that IPython gives to outputs
_IMPORT = re.compile(r"smoot_explore(\.| import )notebook")
_STYLE = f"""
.{LIVE} {{ position: relative }}
.{LIVE} .widget-label {{ min-width: max-content }}
.{PROJECTOR} {{ position: absolute; top: 0; right: 0; z-index: 1 }}
.{DEAD}:not(.jupyter-widgets-disconnected) {{ display: none }}
.{DEAD}.widget-label {{ color: var(--jp-error-color1, red) }}
.{LIVE}.jupyter-widgets-disconnected::before, .{LIVE} .jupyter-widgets-disconnected::before {{ display: none }}
.{LIVE}:fullscreen {{ background: var(--jp-layout-color0, white); overflow: auto; padding: 16px;
    --jp-widgets-font-size: 20px; --jp-widgets-inline-height: 38px }}
.{LIVE}:fullscreen > * {{ flex-shrink: 0 }}
.{LIVE}:fullscreen > .{PROJECTOR} {{ top: 16px; right: 16px }}
.{LIVE}:fullscreen .{CONTROLS} {{ grid-template-columns: 1fr 1fr !important }}
.{LIVE}:fullscreen .widget-label {{ width: max-content !important }}
"""
# Sliders' handles get the names of their sliders: ipywidgets give them none. Full screen is asked for here, since a
# page allows it only while a click is handled.
_SCRIPT = f"""(() => {{
  const style = document.getElementById("{LIVE}") ?? document.head.appendChild(document.createElement("style"))
  Object.assign(style, {{id: "{LIVE}", textContent: `{_STYLE}`}})
  if (window.smootExplore) return
  window.smootExplore = true
  document.addEventListener("click", (event) => {{
    const live = event.target.closest?.(".{PROJECTOR}")?.closest(".{LIVE}")
    if (live) document.fullscreenElement ? document.exitFullscreen() : live.requestFullscreen()
  }})
  new MutationObserver(() => {{
    for (const handle of document.querySelectorAll(".noUi-handle:not([aria-label])")) {{
      const slider = handle.closest(".widget-inline-hbox")
      const label = slider?.querySelector(".widget-label")?.textContent
      const ends = slider?.querySelectorAll(".noUi-handle").length == 2
      const which = !ends ? "" : handle.classList.contains("noUi-handle-lower") ? ", lower end" : ", upper end"
      if (label) handle.setAttribute("aria-label", label + which)
    }}
  }}).observe(document.body, {{childList: true, subtree: true}})
}})()"""


def load_page() -> None:
    """Give the page of a notebook this, as an output of the cell that runs; elsewhere nothing happens.

    A cell that imports this package again gives it again: the page may be new, when the kernel is not.
    """
    shell = get_ipython()
    if hasattr(shell, "kernel") and can_move():
        _load()
        shell.events.register("pre_run_cell", lambda cell: _load() if _IMPORT.search(cell.raw_cell) else None)


def replaces_former(widget: widgets.Widget) -> None:
    """Close what an earlier run of this cell has made: ipywidgets keep it for ever, and so does the list of outputs."""
    shell = get_ipython()
    parent = shell.kernel.get_parent() if hasattr(shell, "kernel") else {}
    cell, run = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    if cell is None:
        return
    before, made = _made.get(cell, (run, []))
    if before != run:
        for one in made:
            _discard(one)
            _forget(shell, one)
        made = []
    _made[cell] = run, [*made, widget]


@contextmanager
def sliders_answered() -> Iterator[None]:
    """Tell the page that a slider's message is dealt with, while a cell awaits: it sends no other before.

    ipykernel 7.4 deals with such messages meanwhile, and leaves that out.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        yield
        return
    handlers, cell = kernel.shell_handlers, kernel.get_parent()
    deal = handlers["comm_msg"]

    def tell(state: str, parent: Any) -> None:
        kernel.session.send(kernel.iopub_socket, "status", {"execution_state": state}, parent=parent)

    def dealt(stream: Any, ident: Any, message: Any) -> None:
        try:
            deal(stream, ident, message)
        finally:
            tell("idle", message)
            tell("busy", cell)  # as the cell still is

    handlers["comm_msg"] = dealt
    try:
        yield
    finally:
        handlers["comm_msg"] = deal


def can_move() -> bool:
    """Whether the page shows widgets of Bokeh: in Colab each cell is a page of its own, without BokehJS."""
    return "google.colab" not in sys.modules


def projector_button() -> widgets.Button:
    """Fills the screen with the widget of the class `LIVE` that it is in; the page does so, without the kernel."""
    button = widgets.Button(
        description="Projector",
        tooltip="Fill the screen; press again, or Esc, to go back",
        layout={"width": "max-content"},
    )
    return button.add_class(PROJECTOR)


def lost_kernel() -> widgets.Label:
    """Is seen when the kernel that made it is gone."""
    return widgets.Label("The kernel was restarted: run all cells again, from the top.").add_class(DEAD)


def _discard(widget: widgets.Widget) -> None:
    widget.close()
    style = (getattr(widget, name, None) for name in ("layout", "style"))
    for part in (*getattr(widget, "children", ()), *style):
        if part is not None:
            _discard(part)


def _forget(shell: Any, widget: widgets.Widget) -> None:
    """Take it from what IPython keeps of outputs; names that the user gave it stay."""
    for names in (shell.user_ns, shell.user_ns_hidden, shell.user_ns.get("_oh", {})):
        for name in [
            name for name, value in names.items() if value is widget and _OUTPUT.fullmatch(str(name))
        ]:
            del names[name]
    for name in ("_", "__", "___"):
        if getattr(shell.displayhook, name, None) is widget:
            setattr(shell.displayhook, name, None)


def _load() -> None:
    # Not by Bokeh's output_notebook: it adds what Panel's widgets need, which a page without a server lacks.
    bokeh = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    display(Javascript(f"if (!window.Bokeh) {{ (function() {{\n{bokeh}\n}}).call(window) }}\n{_SCRIPT}"))
