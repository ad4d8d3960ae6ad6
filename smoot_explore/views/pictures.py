"""Pictures in rows and columns: images, their saliency, and what masking leaves of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from smoot_explore.core.effect import MaskingEffect
from smoot_explore.data.images import Split
from smoot_explore.errors import unknown_name
from smoot_explore.views.palette import METHOD_NAMES
from smoot_explore.views.pixels import mask_pixels_drawn, picture_pixels, saliency_limit, saliency_pixels
from smoot_explore.views.sketch import Axis, Sketch, boxes, pixels, words, wrapped
from smoot_explore.views.view import view

PICTURES = "Pictures"  # the name of its looks
MASKING_ROWS = ("image", "saliency", "masked")
SCALES = ("one for all", "one for each run", "one for each map")  # where the colours of saliency maps end
_LINE_PIXELS = 16  # of a line of text
_ROOM = 0.06  # of a cell, between two pictures


@view()
def picture_grid(
    rows: Sequence[np.ndarray],
    *,
    columns: int | None = None,
    n_rows: int | None = None,
    titles: Sequence[str] = (),
    footers: Sequence[Sequence[str]] = (),
    row_labels: Sequence[str] = (),
    texts: Sequence[str] = (),
    framed: tuple[int, int, int, int] | None = None,
    titled: bool | None = None,
    footer_lines: int | None = None,
    cell: int = 100,
    label: str = "",
) -> Sketch:
    """Rows of pictures in one figure, which is what keeps a page of them fast.

    The cell in row r and column c lies from (c, −r − 1) to (c + 1, −r); `cell_at` finds it.

    Parameters
    ----------
    rows
        RGBA pixels uint8 ``(n, H, W, 4)`` for each row, all of one shape; a single array wraps into rows of
        ``columns``.
    columns, n_rows
        Cells; by default as many as there are pictures.
    titles, footers
        A text above each column, and lines of text below it.
    row_labels
        Written to the left of each row.
    texts
        What each picture says under the pointer, row by row.
    framed
        Column, row, width and height in cells of a frame.
    titled, footer_lines
        Room for texts that come later; by default for those given.
    cell
        Side of a cell on the screen in pixels, about: how much room a line of text takes.
    label
        The title of all.
    """
    columns = columns or max([len(row) for row in rows], default=1) or 1
    cells = [
        (picture, i % columns, r + i // columns)
        for r, row in enumerate(rows)
        for i, picture in enumerate(row)
    ]
    n_rows = n_rows or max([y + 1 for _, _, y in cells], default=1)
    titled = bool(titles) if titled is None else titled
    footer_lines = max(map(len, footers), default=0) if footer_lines is None else footer_lines
    line = _LINE_PIXELS / cell  # in cells
    left = (
        (6.6 * max(len(part) for text in row_labels for part in text.split("\n")) + 10) / cell
        if row_labels
        else 0.0
    )
    above, below = line * titled, line * footer_lines
    sheet = _montage(
        [(_thinned(picture, 2 * cell), column, row) for picture, column, row in cells], columns, n_rows
    )
    texts_of_cells = [(i + 0.5, line / 2, text) for i, text in enumerate(titles)]
    texts_of_cells += [
        (i + 0.5, -n_rows - line * (n + 0.5), text)
        for i, footer in enumerate(footers)
        for n, text in enumerate(footer)
    ]
    names = [(-5 / cell, -r - 0.5, text) for r, text in enumerate(row_labels)]
    places = [(i, -r - 1, i + 1, -r) for (_, i, r), _ in zip(cells, texts, strict=False)]
    layers = (
        pixels(sheet, 0, -n_rows, columns, 0),
        words("Cell text", *_columns(texts_of_cells, 3)),
        words("Name", *_columns(names, 3)),
        boxes("Cell", _columns(places, 4), told={"text": list(texts)[: len(places)]}),
        boxes("Frame", _columns([] if framed is None else [_rectangle(*framed)], 4)),
    )
    x, y = Axis("x", "x", None, (-left, columns)), Axis("y", "y", None, (-n_rows - below, above))
    return Sketch(PICTURES, label, x, y, layers)


def cell_at(x: float | None, y: float | None, columns: int, rows: int) -> int | None:
    """The cell under a place of a `picture_grid`, counted along the rows; None beside all pictures."""
    if x is None or y is None or not (0 <= x < columns and -rows < y <= 0):
        return None
    return int(-y) * columns + int(x)


@view()
def images(split: Split, titles: Sequence[str] | None = None, label: str = "") -> Sketch:
    """Images in one row, by default with their labels."""
    return picture_grid.sketch(
        [picture_pixels(split.images.numpy())], titles=titles or _labels(split), label=label
    )


@view()
def masking(
    split: Split,
    seen: MaskingEffect,
    titles: Sequence[str] | None = None,
    *,
    footers: Sequence[Sequence[str]] | None = None,
    limit: float | None = None,
    framed: int | None = None,
    label: str = "",
    cell: int = 100,
    columns: int | None = None,
) -> Sketch:
    """Images, their saliency, and what masking leaves of them, in three rows.

    Parameters
    ----------
    split, seen
        The images, and what `masking_effect` found of them.
    titles, footers
        Texts above and below each image; by default its label, and how its probability changes.
    limit
        Where the saliency's colours end, red and blue; by default at the 99.5th percentile of the magnitudes. The
        row's name says it.
    framed
        Position of an image to frame.
    label
        The title.
    cell, columns
        As in `picture_grid`.
    """
    if footers is None:
        labels = split.labels.numpy()
        rows = np.arange(len(labels))
        clean, masked = (100 * p[rows, labels] for p in (seen.clean_probabilities, seen.masked_probabilities))
        footers = [[f"{before:.0f} → {after:.0f} %"] for before, after in zip(clean, masked, strict=True)]
    limit = limit or saliency_limit([seen.saliency])
    image, saliency, masked = MASKING_ROWS
    return picture_grid.sketch(
        [
            picture_pixels(split.images.numpy()),
            saliency_pixels(seen.saliency, limit),
            picture_pixels(seen.masked_images),
        ],
        titles=titles or _labels(split),
        footers=footers,
        row_labels=(image, f"{saliency}\n± {limit:.2g}", masked),
        columns=columns,
        framed=None if framed is None else (framed, 0, 1, 3),
        label=label,
        cell=cell,
    )  # fmt: skip


@view()
def saliency_maps(
    split: Split,
    maps: Mapping[str, np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    scale: str = SCALES[0],
    label: str = "",
    cell: int = 100,
) -> Sketch:
    """Images above rows of their saliency.

    Parameters
    ----------
    split
        The images.
    maps
        Signed saliency ``(N, H, W)`` by the row's name, such as a run's or a training method's.
    titles
        Above each image; by default its label.
    scale
        One of `SCALES`. The colours are symmetric about 0 and end at the 99.5th percentile of the magnitudes: for
        all maps together they show how the rows differ in size, for each row where its saliency lies.
    label
        The title; the scale is said in it.
    cell
        As in `picture_grid`.
    """
    limits = map_limits(maps, scale)
    names = ["image", *(METHOD_NAMES.get(name, name).replace(", ", "\n") for name in maps)]
    if scale == SCALES[1]:
        names[1:] = [f"{name}\n± {limits[run][0]:.2g}" for name, run in zip(names[1:], maps, strict=True)]
    ends = f", to ± {saliency_limit(maps.values()):.2g}" if scale == SCALES[0] else ""
    return picture_grid.sketch(
        [
            picture_pixels(split.images.numpy()),
            *(saliency_pixels(m, limits[name]) for name, m in maps.items()),
        ],
        titles=titles or _labels(split),
        row_labels=names,
        label=wrapped(f"{label or 'Saliency: red for the label, blue against'}, colour scale: {scale}{ends}"),
        cell=cell,
    )


def map_limits(maps: Mapping[str, np.ndarray], scale: str) -> dict[str, np.ndarray]:
    """Where the colour scale of each map ends, ``(n,)`` by the row's name; ``scale`` is one of `SCALES`."""
    if scale not in SCALES:
        raise unknown_name("colour scale", scale, SCALES)
    if scale == SCALES[2]:
        return {name: np.array([saliency_limit([one]) for one in group]) for name, group in maps.items()}
    shared = saliency_limit(maps.values())
    return {
        name: np.full(len(group), shared if scale == SCALES[0] else saliency_limit([group]))
        for name, group in maps.items()
    }


@view()
def stages(pictures: Mapping[str, np.ndarray], label: str = "") -> Sketch:
    """Stages of one image by title: uint8 images ``(C, H, W)``, boolean masks or saliency maps ``(H, W)``."""
    return picture_grid.sketch(
        [np.concatenate([_drawn(picture) for picture in pictures.values()])],
        titles=list(pictures),
        label=label,
        cell=150,
    )


def _drawn(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 3:
        return picture_pixels(picture[None])
    if picture.dtype == bool:
        return mask_pixels_drawn(picture[None])
    return saliency_pixels(picture[None], saliency_limit([picture]))


def _labels(split: Split) -> list[str]:
    return [split.class_names[int(label)] for label in split.labels]


def _columns(rows: Sequence[tuple], n: int) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(n)]


def _rectangle(column: int, row: int, width: int, height: int) -> tuple[float, float, float, float]:
    return column + 0.01, -row - height + 0.01, column + width - 0.01, -row - 0.01


def _thinned(picture: np.ndarray, most: int) -> np.ndarray:
    """Every so many pixels of a picture that has many more than are seen: they need not travel."""
    step = max(1, max(picture.shape[:2]) // most)
    return picture[::step, ::step]


def _montage(cells: Sequence[tuple[np.ndarray, int, int]], columns: int, rows: int) -> np.ndarray:
    """All pictures on one transparent sheet, each in the middle of its square cell, as RGBA."""
    longest = max([max(picture.shape[:2]) for picture, _, _ in cells], default=1)
    side = longest + 2 * max(1, round(_ROOM * longest / 2)) if cells else 1
    sheet = np.zeros((rows * side, columns * side, 4), np.uint8)
    for picture, column, row in cells:
        height, width = picture.shape[:2]
        top, left = row * side + (side - height) // 2, column * side + (side - width) // 2
        sheet[top : top + height, left : left + width] = picture
    return sheet
