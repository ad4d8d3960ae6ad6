"""What the page's parts lack for those who see little of it, or use no mouse."""

from __future__ import annotations

import param
from panel.custom import JSComponent


class Access(JSComponent):
    """Names what Panel and Material UI leave without one, and takes arrow keys to the frames of pictures.

    A figure of Bokeh is a canvas: it is called by what its model says (``html_attributes`` of `looks`). In one with a
    frame the arrow keys tap the next picture, and Enter taps twice, as a mouse does.
    """

    news = param.String(doc="What has just turned, read out by a screen reader.")

    _esm = """
    const { Tap, DoubleTap } = Bokeh.require("core/bokeh_events")
    const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }
    const ring = new CSSStyleSheet()
    ring.replaceSync(":focus-visible { outline: 2px solid currentColor !important; outline-offset: -2px }")

    const host = (element) => element.getRootNode().host
    const name = (element, words) => {
      if (words && element.ariaLabel !== words) element.ariaLabel = words
    }

    // Each of them names some elements of a root, among those that it holds now.
    const rules = {
      ".bk-events": (canvas) => {
        const figure = host(host(canvas))
        canvas.role = "img"
        name(canvas, figure?.dataset.says)
        host(canvas).shadowRoot.adoptedStyleSheets = [ring]
      },
      ".bk-Figure[data-says]": (figure) => {
        const canvas = figure.shadowRoot?.querySelector(".bk-Canvas")?.shadowRoot?.querySelector(".bk-events")
        if (canvas) name(canvas, figure.dataset.says)
      },
      ".MuiInputAdornment-root > button": (button) => {
        const label = button.closest(".MuiFormControl-root")?.querySelector("label")?.innerText.trim()
        name(button, `${label}: ${button.closest(".MuiInputAdornment-positionStart") ? "before" : "next"}`)
      },
      ".MuiSlider-root": (slider) => {
        const handles = slider.querySelectorAll("input")
        if (handles.length !== 2) return
        handles.forEach((handle, i) => {
          const end = i ? ": highest" : ": lowest"
          if (handle.ariaLabel && !handle.ariaLabel.endsWith(end)) name(handle, handle.ariaLabel + end)
        })
      },
      ".MuiLinearProgress-root": (bar) => name(bar, bar.closest(".header") ? "Busy" : "Progress of the training"),
    }

    const mend = (root) => {
      for (const [selector, rule] of Object.entries(rules)) root.querySelectorAll(selector).forEach(rule)
    }
    const watch = (root) => {
      mend(root)
      const seen = { childList: true, subtree: true, attributes: true, attributeFilter: ["data-says"] }
      new MutationObserver(() => mend(root)).observe(root, seen)
    }
    const walk = (root) => {
      watch(root)
      for (const element of root.querySelectorAll("*")) if (element.shadowRoot) walk(element.shadowRoot)
    }

    const move = (event) => {
      const canvas = event.composedPath()[0]
      if (!canvas.matches?.(".bk-events") || !(event.key in STEPS || event.key === "Enter")) return
      const figure = model_of(host(host(canvas)))
      const data = figure?.renderers.find((one) => one.name === "Frame")?.data_source.data
      const side = (of) => (data?.get ? data.get(of) : data?.[of])?.[0]
      if (side("left") === undefined) return
      event.preventDefault()
      const [left, right, bottom, top] = ["left", "right", "bottom", "top"].map((of) => Math.round(side(of)))
      const [across, up] = STEPS[event.key] ?? [0, 0]
      const [x, y] = [left + 0.5 + across * (right - left), top - 0.5 + up * (top - bottom)]
      const modifiers = { shift: false, ctrl: false, alt: false }
      const kind = event.key === "Enter" ? DoubleTap : Tap
      figure.trigger_event(new kind(0, 0, x, y, modifiers))
    }
    const model_of = (element) => {
      for (const model of Bokeh.documents[0]._all_models.values()) {
        if (model.type === "Figure" && Bokeh.index.find_one(model)?.el === element) return model
      }
    }

    const told = document.createElement("div")
    told.role = "status"
    told.style.cssText = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)"

    let watches = false // it may be drawn again
    export function render({ model }) {
      model.on("news", () => { told.textContent = model.news })
      document.body.append(told)
      if (watches) return
      watches = true
      const attach = Element.prototype.attachShadow
      Element.prototype.attachShadow = function (options) {
        const root = attach.call(this, options)
        watch(root)
        return root
      }
      walk(document)
      document.addEventListener("keydown", move)
    }
    """

    def __init__(self) -> None:
        super().__init__(width=0, height=0, margin=0)
