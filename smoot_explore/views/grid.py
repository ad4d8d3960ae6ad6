"""Many small pictures in one figure, which is what keeps a page of them fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Range1d

from smoot_explore.views.canvas import new_figure
from smoot_explore.views.palette import NEUTRAL, SELECTED

_LINE_PIXELS = 11  # of a line of text


class PictureGrid:
    """Rows of pictures with a title above each column and lines of text below it.

    Parameters
    ----------
    name, title
        Of the figure.
    columns, rows
        Cells.
    row_labels
        Written to the left of each row.
    titled
        Leave room for a title above each column.
    cell
        Side of a cell in pixels, about: the figure takes the width that there is.
    footer_lines
        Leave room for so many lines of text below each column.
    """

    def __init__(
        self,
        name: str,
        title: str,
        columns: int,
        rows: int,
        *,
        cell: int = 100,
        row_labels: Sequence[str] = (),
        titled: bool = True,
        footer_lines: int = 0,
        tooltips: bool = False,
    ) -> None:
        self.columns, self.rows = columns, rows
        self._cell = cell
        self._line = _LINE_PIXELS / cell  # in cells
        left = 0.75 if row_labels else 0.05
        above, below = (self._line * 1.6 if titled else 0.05), self._line * 1.35 * footer_lines + 0.05
        width, height = left + columns, above + rows + below
        self.figure = new_figure(
            title, name=name, height=round(height * cell) + 40, x_range=Range1d(-left, columns),
            y_range=Range1d(-rows - below, above),
        )  # fmt: skip
        # As wide as its cells are square, and no wider than its place.
        self.figure.sizing_mode = "scale_width"
        self.figure.width = round(width * cell)
        self.figure.frame_width = None
        self.figure.axis.visible = False
        self.figure.grid.visible = False
        self.figure.outline_line_color = None
        self.figure.min_border = 0
        self.figure.match_aspect = True
        self.pictures = ColumnDataSource({"image": [], "x": [], "y": [], "w": [], "h": [], "text": []})
        self.texts = ColumnDataSource({"x": [], "y": [], "text": []})
        self.selected = ColumnDataSource({"x": [], "y": [], "w": [], "h": []})
        drawn = self.figure.image_rgba(
            "image", x="x", y="y", dw="w", dh="h", source=self.pictures, anchor="top_left", origin="top_left"
        )
        self.figure.rect(
            "x", "y", "w", "h", source=self.selected, fill_alpha=0, line_color=SELECTED, line_width=3
        )
        self.figure.text(
            "x", "y", "text", source=self.texts, text_font_size="11.5px", text_align="center",
            text_baseline="middle", text_color=NEUTRAL,
        )  # fmt: skip
        if row_labels:
            self.figure.text(
                [-left / 2 - 0.02] * rows, [-row - 0.5 for row in range(rows)], text=list(row_labels),
                text_font_size="12px", text_align="center", text_baseline="middle", text_color=NEUTRAL,
            )  # fmt: skip
        if tooltips:
            self.figure.add_tools(HoverTool(renderers=[drawn], tooltips=[("", "@text")], visible=False))

    def show(
        self,
        rows: Sequence[Iterable[np.ndarray]],
        *,
        titles: Sequence[str] = (),
        footers: Sequence[Sequence[str]] = (),
        texts: Sequence[str] = (),
    ) -> None:
        """Replace the pictures.

        ``rows`` holds RGBA pixels ``(n, H, W)`` for each row; with a single array they wrap into rows.
        ``footers`` holds the lines below each column, ``texts`` what a picture says under the pointer.
        """
        cells = [
            (self._thinned(picture), column % self.columns, row + column // self.columns)
            for row, pictures in enumerate(rows)
            for column, picture in enumerate(pictures)
        ]
        shapes = [_shape_in_cell(picture) for picture, _, _ in cells]
        self.pictures.data = {
            "image": [picture for picture, _, _ in cells],
            "x": [x + (1 - w) / 2 for (_, x, _), (w, _) in zip(cells, shapes, strict=True)],
            "y": [-y - (1 - h) / 2 for (_, _, y), (_, h) in zip(cells, shapes, strict=True)],
            "w": [w for w, _ in shapes],
            "h": [h for _, h in shapes],
            "text": list(texts) or [""] * len(cells),
        }
        lines = [(i + 0.5, self._line * 0.8, text) for i, text in enumerate(titles)]
        for i, footer in enumerate(footers):
            lines += [
                (i + 0.5, -self.rows - self._line * (0.7 + 1.3 * line), text)
                for line, text in enumerate(footer)
            ]
        x, y, text = (list(column) for column in zip(*lines, strict=True)) if lines else ([], [], [])
        self.texts.data = {"x": x, "y": y, "text": text}

    def _thinned(self, picture: np.ndarray) -> np.ndarray:
        """Every so many pixels of a picture that has many more than are seen: they need not travel."""
        step = max(1, max(picture.shape[:2]) // (2 * self._cell))
        return np.ascontiguousarray(picture[::step, ::step])

    def select(self, cell: int | None) -> None:
        """Frame one cell, counted along the rows; None frames nothing."""
        if cell is None:
            self.selected.data = {"x": [], "y": [], "w": [], "h": []}
            return
        x, y = cell % self.columns + 0.5, -(cell // self.columns) - 0.5
        self.selected.data = {"x": [x], "y": [y], "w": [0.98], "h": [0.98]}

    def select_column(self, column: int | None) -> None:
        """Frame one column; None frames nothing."""
        if column is None:
            return self.select(None)
        self.selected.data = {
            "x": [column + 0.5], "y": [-self.rows / 2], "w": [0.99], "h": [self.rows - 0.01],
        }  # fmt: skip

    def cell_at(self, x: float | None, y: float | None) -> int | None:
        """The cell under a place in the figure, counted along the rows; None beside all pictures."""
        if x is None or y is None or not (0 <= x < self.columns and -self.rows < y <= 0):
            return None
        return int(-y) * self.columns + int(x)


def _shape_in_cell(picture: np.ndarray, room: float = 0.94) -> tuple[float, float]:
    """Width and height of a picture in a unit cell, its sides in proportion."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    return room * width / longest, room * height / longest
