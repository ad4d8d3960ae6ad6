"""Pictures on paper: PNG and SVG by Matplotlib."""

from __future__ import annotations

import functools
import io
import itertools
import math
from pathlib import Path
from typing import Any

import holoviews as hv
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smoot_explore.files import write_atomically
from smoot_explore.views import looks
from smoot_explore.views.palette import in_words

_COLUMNS = 3  # of frames side by side


def figure_of(element: Any) -> Figure:
    """The Matplotlib figure of a picture. What are sliders on a screen are panels, with their values above them.

    Raises
    ------
    ValueError
        For more frames than fit on a sheet.
    """
    looks.load()
    parts = list(element) if isinstance(element, hv.Layout) else [element]
    frames = [_frames(part) for part in parts]
    columns = element.shape[1] if len(parts) == sum(map(len, frames)) > 1 else _COLUMNS
    told = element.label if isinstance(element, hv.Layout) else ""
    if len(parts) == 1 and len(frames[0]) > 1:  # what all frames say is said once, above them
        (told, *others) = {frame.label for frame, _ in frames[0]}
        told = "" if others else told
    pictures = [
        frame.relabel("\n".join([*([frame.label] if frame.label != told else []), *keys]))
        for several in frames
        for frame, keys in several
    ]
    figure = _sheet(pictures, min(columns, len(pictures)), told)
    axes = iter(figure.axes)
    for several in frames:
        _share_axes(list(itertools.islice(axes, len(several))))
    return figure


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


def _frames(element: Any) -> list[tuple[Any, list[str]]]:
    """The pictures that a slider goes through, each with the slider's values in words; or the one picture."""
    if not isinstance(element, hv.HoloMap | hv.NdLayout):
        return [(element, [])]
    if isinstance(element, hv.DynamicMap) and not element.kdims:
        return [(element[()], [])]
    if isinstance(element, hv.DynamicMap):
        n = math.prod(len(dimension.values) for dimension in element.kdims)
        names = ", ".join(dimension.name for dimension in element.kdims)
        raise ValueError(
            f"{n:,} frames (over {names}) do not fit on a sheet; choose some of them, such as "
            f"picture[{element.kdims[0].values[0]!r}]"
        )
    return [(frame, _in_words(element.kdims, values)) for values, frame in element.data.items()]


def _in_words(dimensions: list[Any], values: tuple[Any, ...]) -> list[str]:
    return [in_words(d.pprint_value_string(value)) for d, value in zip(dimensions, values, strict=True)]


def _sheet(pictures: list[Any], columns: int, told: str) -> Figure:
    """Pictures side by side on a figure that pyplot does not know, so that nobody has to close it."""
    rows = -(-len(pictures) // columns)
    sizes = [looks.size_on_paper(picture, columns) for picture in pictures]
    widths = [max(width for width, _ in sizes[column::columns]) for column in range(columns)]
    heights = [max(height for _, height in sizes[i : i + columns]) for i in range(0, len(pictures), columns)]
    figure = Figure((sum(widths), sum(heights) + (0.3 if told else 0)), layout="constrained")
    grid = figure.add_gridspec(rows, columns, width_ratios=widths, height_ratios=heights)
    for i, picture in enumerate(pictures):
        axis = figure.add_subplot(grid[divmod(i, columns)])
        hv.renderer("matplotlib").get_plot(picture, fig=figure, axis=axis)
    if told:
        figure.suptitle(told.replace("\n", " "), fontsize=10)
    return figure


def _share_axes(axes: list[Axes]) -> None:
    """The frames of a slider are there to be compared, so their axes end where those of all do."""
    x, y = np.array([axis.get_xlim() for axis in axes]), np.array([axis.get_ylim() for axis in axes])
    for axis in axes:
        axis.set(xlim=(x[:, 0].min(), x[:, 1].max()), ylim=(y[:, 0].min(), y[:, 1].max()))
