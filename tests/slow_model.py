"""A model that is too large and too slow: a step of it takes minutes, in one call of a library that obeys nobody."""

import torch
from torch import nn

MEGABYTES = 600


class Slow(nn.Module):
    def __init__(self, n_inputs, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_classes)
        self.register_buffer("ballast", torch.ones(MEGABYTES * 250_000), persistent=False)

    def forward(self, images):
        torch.linalg.svd(torch.rand(12_000, 12_000))
        return self.layer(images.flatten(1))


def slow(data, seed):
    torch.manual_seed(seed)
    return Slow(data.n_pixels * data.image_shape[0], data.n_classes)
