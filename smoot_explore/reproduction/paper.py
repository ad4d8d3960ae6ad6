"""What the paper reports, word for word where it is a number (Karkehabadi et al. 2023, arXiv:2310.00772)."""

from __future__ import annotations

from typing import NamedTuple


class PublishedRow(NamedTuple):
    """A row of Tables 2 to 5."""

    k: tuple[int, int, int]  # minimum, median, maximum, in pixels
    accuracy: float  # per cent
    auc: float | None = None  # per cent; Tables 4 and 5 have none


class PublishedSettings(NamedTuple):
    """A row of Table 1."""

    model: str
    k_init: int  # pixels
    learning_rate: float
    beta: float
    kl_weight: float


EPOCHS = 100
# What the likely precursor prints of its k on CIFAR-10 (github.com/alikabadi/Masking_Based_Grad, February 2023), by
# its count of epochs: minimum, median, maximum.
PRECURSOR_K = {3: (150, 150, 158), 10: (150, 178, 377), 20: (150, 256, 900), 30: (155, 364, 900)}
TEST_IMAGES = 10_000
CLASS_II_SHARE = 16.0  # per cent of the CIFAR-10 test images, two-layer CNN

SETTINGS = {
    "mnist": PublishedSettings("CNN", 392, 1, 0.95, 1),
    "fashion-mnist": PublishedSettings("CNN", 392, 1, 0.95, 1),
    "cifar10-transformer": PublishedSettings("Transformer", 512, 0.001, 0.80, 1),
    "cifar100-transformer": PublishedSettings("Transformer", 512, 0.001, 0.80, 1),
}

RESULTS = {
    "mnist": {
        "traditional": PublishedRow((0, 0, 0), 99.40, 36.35),
        "sgt": PublishedRow((392, 392, 392), 99.35, 34.67),
        "smoot": PublishedRow((234, 388, 544), 99.40, 33.16),
    },
    "fashion-mnist": {
        "traditional": PublishedRow((0, 0, 0), 93.60, 40.79),
        "sgt": PublishedRow((392, 392, 392), 93.35, 39.91),
        "smoot": PublishedRow((223, 372, 576), 93.65, 36.18),
    },
    "cifar10-transformer": {
        "traditional": PublishedRow((0, 0, 0), 95.65),
        "sgt": PublishedRow((512, 512, 512), 96.05),
        "smoot": PublishedRow((204, 488, 753), 96.35),
    },
    "cifar100-transformer": {
        "traditional": PublishedRow((0, 0, 0), 75.75),
        "sgt": PublishedRow((512, 512, 512), 78.10),
        "smoot": PublishedRow((362, 432, 682), 79.65),
    },
}
