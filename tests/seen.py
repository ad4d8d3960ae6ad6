"""What a visitor sees of the explorer's page: numbers and pixels of its figures, and what it says of a training."""

from __future__ import annotations

import re

import numpy as np
from browser import Visitor


def status(visitor: Visitor) -> str:
    """How far the training is."""
    found = re.search(r"epoch \d+ of \d+, step [\d,]+", visitor.text())
    return found.group() if found else ""


def step(visitor: Visitor) -> int:
    """The training's last step; 0 before there is one."""
    found = re.search(r"step ([\d,]+)", status(visitor))
    return int(found.group(1).replace(",", "")) if found else 0


def sheet(visitor: Visitor, figure: str) -> np.ndarray:
    """The pixels of a figure of pictures, the upper row first."""
    data = visitor.data(figure, "Pixels")
    if not data.get("image"):
        return np.empty((0, 0))
    pixels, width, height = np.array(data["image"][0]), data["dw"][0], data["dh"][0]
    side = round((pixels.size / (width * height)) ** 0.5)  # of a cell
    return pixels.reshape(-1, round(width) * side)[::-1]


def pictures(visitor: Visitor, figure: str, rows: int, columns: int) -> list[list]:
    """The pixels of each cell in which there is a picture, row by row."""
    pixels = sheet(visitor, figure)
    if pixels.size < rows * columns:
        return []
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    cells = [
        pixels[r * height : (r + 1) * height, c * width : (c + 1) * width]
        for r in range(rows)
        for c in range(columns)
    ]
    return [cell.tolist() for cell in cells if cell.any()]


def watched(visitor: Visitor) -> list[list]:
    """The images of the strip, their saliency and what is masked, row by row."""
    return pictures(visitor, "watched", 3, 8)


def three(visitor: Visitor) -> list[list]:
    """Image, saliency and masked image of the Image tab."""
    return pictures(visitor, "image", 1, 3)


def title(visitor: Visitor, figure: str) -> str:
    """The title of a figure, in one line."""
    text = visitor.page.evaluate("n => Bokeh.documents[0].get_model_by_name(n)?.title.text ?? ''", figure)
    return text.replace("\n", " ")


def legend(visitor: Visitor, figure: str) -> list[str]:
    """The labels that a figure's legend shows."""
    return visitor.page.evaluate(
        """name => {
            const figure = Bokeh.documents[0].get_model_by_name(name)
            const legend = [...figure.above, ...figure.center].find(part => part.type == "Legend")
            return legend.items.filter(item => item.visible).map(item => item.label.value)
        }""",
        figure,
    )


def figures(visitor: Visitor) -> list[str]:
    """The names of all figures that the page has so far, and of their parts."""
    return visitor.page.evaluate(
        "[...Bokeh.documents[0]._all_models.values()].map(m => m.name).filter(n => n != null)"
    )
