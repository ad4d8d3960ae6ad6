"""Names of the data sets that `load_data` knows, and of their classes."""

from __future__ import annotations

DATASETS = ("fashion-mnist-sample", "shapes", "mnist", "fashion-mnist", "cifar10", "cifar100")
FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip
