"""The image that a visitor has picked, by its image_id: the one name of an image, whatever run or filter."""

from __future__ import annotations

import numpy as np
import param

from smoot_explore.data.images import Split


class ImageIds:
    """The ids of some images, in their order.

    Parameters
    ----------
    ids
        ``(n,)``, each once.
    what
        In words: "test images of SMOOT, bundled".

    Examples
    --------
    >>> ids = ImageIds([7, 3, 12], "test images")
    >>> ids.position(12), ids.at(0), ids.next_to(7, 1), ids.next_to(7, -1), ids.next_to(12, 1)
    (2, 7, 12, 3, None)
    """

    def __init__(self, ids: object = (), what: str = "images") -> None:
        self._ids, self._what = np.asarray(ids, int), what

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id is not None and bool((self._ids == image_id).any())

    def position(self, image_id: int) -> int:
        """Where the image stands; ``ValueError`` tells which there are."""
        if image_id not in self:
            raise ValueError(f"there is no image {image_id}: {self._told(image_id)}")
        return int((self._ids == image_id).argmax())

    def at(self, position: int) -> int:
        """The id of the image at a position, which addresses of before named; ``ValueError`` beyond the last."""
        if not 0 <= position < len(self):
            raise ValueError(f"there is no image at place {position}: there are {len(self):,} {self._what}")
        return int(self._ids[position])

    def next_to(self, image_id: int, by: int) -> int | None:
        """The next larger id (``by`` above 0) or smaller one; None where there is none."""
        further = self._ids[self._ids > image_id] if by > 0 else self._ids[self._ids < image_id]
        return int(further.min() if by > 0 else further.max()) if len(further) else None

    def _told(self, image_id: int) -> str:
        if not len(self):
            return f"there are no {self._what}"
        first, last = int(self._ids.min()), int(self._ids.max())
        text = f"the {len(self):,} {self._what} have numbers from {first} to {last}"
        if first < image_id < last:
            text += f", not all of them; the nearest are {self.next_to(image_id, -1)} and {self.next_to(image_id, 1)}"
        return text


def named(split: Split) -> list[str]:
    """The images' ids with their labels: "3208: shirt"."""
    names = split.class_names
    return [
        f"{i}: {names[label]}"
        for i, label in zip(split.image_ids.tolist(), split.labels.tolist(), strict=True)
    ]


class PicksImage(param.Parameterized):
    """A state in which one image is picked. None: the page picks one itself when a run is shown."""

    image_id = param.Integer(default=None, allow_None=True, bounds=(0, None), label="Image")

    @property
    def ids(self) -> ImageIds:
        """The images that can be picked; none before a run is shown."""
        raise NotImplementedError

    @property
    def passing(self) -> ImageIds:
        """Those of them that steps from one to the next lead to."""
        return self.ids

    @property
    def first_pick(self) -> int | None:
        """What a fresh page shows of this run; None where that is not known yet."""
        return self.ids.at(0) if len(self.ids) else None

    @property
    def position(self) -> int:
        """Where the picked image stands among those that can be picked; 0 where none is."""
        ids = self.ids
        return ids.position(self.image_id) if self.image_id in ids else 0

    def pick(self, image_id: int) -> None:
        """Pick an image; ``ValueError`` when it cannot be, with those that can."""
        self.ids.position(image_id)
        self.image_id = image_id

    def step(self, by: int) -> None:
        """Pick the next image (``by`` above 0) or the one before, by their numbers; stay at the end."""
        found = None if self.image_id is None else self.passing.next_to(self.image_id, by)
        if found is not None:
            self.image_id = found
