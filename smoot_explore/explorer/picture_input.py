"""A button to choose a picture of the visitor's own, or to drop one on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.custom import JSComponent


class PictureInput(JSComponent):
    """Sends a file that the visitor chooses, of whatever kind; of one that is too large only its size.

    Parameters
    ----------
    chosen
        Called with the file's name, its size in bytes, and its content: None when it is too large.
    """

    label = param.String(default="Upload a picture")
    description = param.String(doc="Shown where the pointer rests on the button.")
    accept = param.String(doc="Endings that the browser's dialogue offers first.")
    most = param.Integer(doc="Bytes that are sent at most.")
    note = param.String(doc="What stands below the button.")

    _esm = """
    const STYLE = `
      button { width: 100%; padding: 4px 10px; cursor: pointer; border-radius: 4px; background: none;
        font: inherit; color: inherit; border: 1px solid color-mix(in srgb, currentColor 40%, transparent) }
      button:hover, button.over { background: color-mix(in srgb, currentColor 8%, transparent) }
      button:focus-visible { outline: 2px solid; outline-offset: 2px }
      p { margin: 6px 0 0 } p:empty { display: none }
      :host { font: 13px/1.4 system-ui, sans-serif }
    `
    export function render({ model, el }) {
      const style = Object.assign(document.createElement("style"), { textContent: STYLE })
      const button = Object.assign(document.createElement("button"), { type: "button" })
      const input = Object.assign(document.createElement("input"), { type: "file", hidden: true })
      const note = document.createElement("p")
      note.setAttribute("role", "status")
      const show = () => {
        button.textContent = model.label
        button.title = model.description
        input.accept = model.accept
        note.textContent = model.note
      }
      const take = async (file) => {
        if (file == null) return
        const told = { name: file.name, size: file.size }
        if (file.size <= model.most) told.content = await file.arrayBuffer()
        model.send_msg(told)
        input.value = "" // so that the same file can be chosen again
      }
      button.onclick = () => input.click()
      input.onchange = () => take(input.files[0])
      button.ondragover = (event) => { event.preventDefault(); button.classList.add("over") }
      button.ondragleave = () => button.classList.remove("over")
      button.ondrop = (event) => {
        event.preventDefault()
        button.classList.remove("over")
        take(event.dataTransfer.files[0])
      }
      for (const name of ["label", "description", "accept", "note"]) model.on(name, show)
      show()
      el.append(style, button, input, note)
    }
    """

    def __init__(self, chosen: Callable[[str, int, bytes | None], None], **params: Any) -> None:
        super().__init__(**params)
        self._chosen = chosen

    def _handle_msg(self, data: Any) -> None:
        content = data.get("content")
        self._chosen(str(data["name"]), int(data["size"]), None if content is None else bytes(content))
