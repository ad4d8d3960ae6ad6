"""What saliency maps of a trained model are held against: the background, the true object, randomised layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from smoot_explore.compute.randomness import derived_seed
from smoot_explore.core.saliency import saliency
from smoot_explore.core.sanity import hit_rate, randomize_layers, rank_correlation
from smoot_explore.data.images import Split

_CHUNK = 128  # images; bounds the memory of integrated gradients

Values = dict[str, float]


def background_share(model: nn.Module, split: Split) -> Values:
    """Share of the gradient's magnitude that lies on black pixels, and the share of pixels that are black.

    For images on a black ground, such as MNIST and Fashion-MNIST. Means over the images, in per cent.
    """
    black = (split.images == 0).all(1)  # (N, H, W)
    magnitudes = _maps(model, split, "gradient", signed=False)
    on_black = (magnitudes * black).flatten(1).sum(1) / magnitudes.flatten(1).sum(1)
    return {"gradient": 100 * float(on_black.nanmean()), "pixels": 100 * float(black.float().mean())}


def object_hits(model: nn.Module, split: Split) -> Values:
    """`hit_rate` of the magnitudes of several attributions on the true objects; of chance; and the objects'
    share of the pixels. Means over the images, in per cent."""
    masks = split.object_masks
    if masks is None:
        raise ValueError("hit rates need data with true object masks, such as 'shapes'")
    rates = {
        attribution: 100 * float(hit_rate(_maps(model, split, attribution, signed=False), masks).nanmean())
        for attribution in ("gradient", "integrated_gradients", "random")
    }
    return {**rates, "objects": 100 * float(masks.float().mean())}


def sanity(model: nn.Module, split: Split) -> Values:
    """`rank_correlation` of the model's maps with those after its last layers were randomised, one more each
    time; mean over the images. A key is "<attribution>, <ranking>, <number of randomised layers>"."""
    n_layers = sum(next(m.parameters(recurse=False), None) is not None for m in model.modules())
    values: Values = {}
    for attribution in ("gradient", "integrated_gradients"):
        for ranking in ("signed", "magnitude"):
            own = _maps(model, split, attribution, signed=ranking == "signed")
            for n in range(1, n_layers + 1):
                # A seed that no training starts from: its weights must have nothing in common with the model's.
                other = _maps(
                    randomize_layers(model, n, seed=derived_seed(n)),
                    split,
                    attribution,
                    signed=ranking == "signed",
                )
                values[f"{attribution}, {ranking}, {n}"] = float(rank_correlation(own, other).mean())
    return values


MAP_METRICS: dict[str, Callable[[nn.Module, Split], Values]] = {
    "background": background_share,
    "hits": object_hits,
    "sanity": sanity,
}


def _maps(model: nn.Module, split: Split, attribution: str, *, signed: bool) -> Tensor:
    """Saliency maps ``(N, H, W)``, on the CPU."""
    return torch.cat(list(_chunks_of_maps(model, split, attribution, signed)))


def _chunks_of_maps(model: nn.Module, split: Split, attribution: str, signed: bool) -> Iterator[Tensor]:
    device = next(model.parameters()).device
    for start in range(0, len(split), _CHUNK):
        part = split[start : start + _CHUNK]
        images, labels = part.normalize().to(device), part.labels.to(device)
        yield saliency(model, images, labels, attribution, signed=signed, seed=start).cpu()
