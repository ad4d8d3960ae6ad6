"""Pictures on paper: PNG and SVG by Matplotlib."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import holoviews as hv
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from smoot_explore.files import write_atomically
from smoot_explore.views import looks

_COLUMNS = 3  # of panels


def figure_of(element: Any) -> Figure:
    """The Matplotlib figure of a picture, which belongs to the caller. What are sliders on a screen are panels."""
    looks.load()
    if isinstance(element, hv.HoloMap):
        element = _panels(element)
    plot = hv.renderer("matplotlib").get_plot(element)
    plt.close(plot.state)  # pyplot keeps no hold of it
    return plot.state


def _panels(frames: hv.HoloMap) -> hv.NdLayout:
    """All frames side by side, under one title, with what differs above each."""
    columns = min(_COLUMNS, len(frames))
    width, height = looks.SIZES.get(frames.last.group, (4.4, 3.4))
    size = (0.85 * width * columns, 0.85 * (height + 0.5) * -(-len(frames) // columns) + 0.4)
    told = frames.last.label
    panels = frames.clone(
        [
            (values, frame.relabel("").opts(title="{dimensions}", backend="matplotlib"))
            for values, frame in frames.data.items()
        ]
    ).layout()
    return panels.cols(columns).opts(
        title=told.replace("\n", " "),
        fig_inches=size,
        fontsize={"title": 10},
        hspace=0.3,
        vspace=0.5,
        backend="matplotlib",
    )


def save(element: Any, path: Path) -> list[Path]:
    """Write the picture as PNG and SVG beside each other; ``path`` has no suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = figure_of(element)
    written = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    for target in written:
        draw = functools.partial(figure.savefig, format=target.suffix[1:], dpi=150, bbox_inches="tight")
        write_atomically(target, draw)
    return written


def png(element: Any) -> bytes:
    """The picture as a PNG for the screen."""
    buffer = io.BytesIO()
    figure_of(element).savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    return buffer.getvalue()
