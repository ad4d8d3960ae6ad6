"""Draws the bundled sample from the full Fashion-MNIST.

python data/draw_fashion_mnist_sample.py [ROOT]

10,000 training and 2,000 test images, 1,000 and 200 of each class, with seed 0. ROOT holds torchvision's
``FashionMNIST/raw`` files; without it they are downloaded to ``data/downloads``.
"""

import sys
from pathlib import Path

import numpy as np

from smoot_explore import load_data

data = load_data(
    "fashion-mnist", train=10_000, test=2_000, root=sys.argv[1] if len(sys.argv) > 1 else None, seed=0
)
arrays = {}
for half, split in (("train", data.train), ("test", data.test)):
    arrays[f"{half}_images"] = split.images.squeeze(1).numpy()
    arrays[f"{half}_labels"] = split.labels.numpy().astype(np.uint8)
    arrays[f"{half}_ids"] = split.image_ids.numpy().astype(np.int32)
path = Path(__file__).with_name("fashion-mnist-sample.npz")
np.savez_compressed(path, **arrays)
print(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MB, fingerprint {data.fingerprint}")
