"""What is measured of a trained model beside its masking curves: of its maps, of attacks on it, of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from smoot_explore.compute.device import hardware_of
from smoot_explore.compute.randomness import derived_seed
from smoot_explore.core.attack import robust_accuracy
from smoot_explore.core.classes import image_class
from smoot_explore.core.config import TrainingConfig
from smoot_explore.core.curves import masking_curves
from smoot_explore.core.masking import mask_pixels, rank_pixels
from smoot_explore.core.models import create_model
from smoot_explore.core.saliency import saliency
from smoot_explore.core.sanity import hit_rate, randomize_layers, rank_correlation
from smoot_explore.core.training import train
from smoot_explore.data.images import ImageData, Split, first_images
from smoot_explore.reproduction.experiments import MAIN_FILLS
from smoot_explore.runs.run import Run

EPSILONS = (0, 1, 2, 4, 8)  # of the 256 levels of a pixel
ATTACKED_IMAGES = 2_000
REMOVED = (0.3, 0.5, 0.7, 0.9)  # shares of the pixels
RETRAINED = (4_000, 2_000)  # training and test images of a network that is trained anew
DYNAMICS_IMAGES = 1_000

_CHUNK = 128  # images; bounds the memory of integrated gradients
# A network trained anew must not cost much: there is one for each share, ranking and run.
RETRAINING = {
    "method": "traditional",
    "epochs": 5,
    "batch_size": 64,
    "schedule": "settle",
    "precision": "float32",
}

Values = dict[str, float]


class Subject(NamedTuple):
    """What a metric may look at."""

    run: Run
    model: nn.Module  # the run's, trained, on the device
    data: ImageData
    few: Split  # the test images for what costs much


class Metric(NamedTuple):
    """Something that is measured of a trained model."""

    measure: Callable[[Subject], Values]
    passes: float  # that it takes for each of the few test images, as the estimate of time counts them


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


def robustness(model: nn.Module, split: Split) -> Values:
    """Share of the images, in per cent, that are classified rightly whatever `robust_accuracy` does to them, by the
    largest change of a pixel in levels of 256; 0 is without attack."""
    attacked = first_images(split, ATTACKED_IMAGES)
    right = robust_accuracy(model, attacked, EPSILONS)
    return {
        str(epsilon): 100 * float(of_one.float().mean())
        for epsilon, of_one in zip(EPSILONS, right, strict=True)
    }


def retrained(model: nn.Module, data: ImageData, name: str, seed: int) -> Values:
    """Test accuracy in per cent of fresh networks that never see the most salient pixels: *remove and retrain*.

    Hooker et al. (2019). The pixels that the gradient of the predicted class ranks highest, or a random order, become
    the mean of the training images, in training and test images alike; a network from new weights is trained on what
    is left. The shape of what was removed may itself tell the predicted class. A key is "<ranking>, <share removed>",
    and "none, 0" where nothing is.
    """
    splits = [first_images(split, n) for split, n in zip((data.train, data.test), RETRAINED, strict=True)]
    rankings = {"signed": ("gradient", True), "magnitude": ("gradient", False), "random": ("random", True)}
    values = {"none, 0": _accuracy_after_training(replace(data, train=splits[0], test=splits[1]), name, seed)}
    for ranking, (attribution, signed) in rankings.items():
        ranks = [
            rank_pixels(_maps(model, split, attribution, signed=signed, seed=seed, predicted=True), "highest")
            for split in splits
        ]
        for share in REMOVED:
            train_half, test_half = (
                _without(split, r, share) for split, r in zip(splits, ranks, strict=True)
            )
            reduced = replace(data, train=train_half, test=test_half)
            values[f"{ranking}, {share:g}"] = _accuracy_after_training(reduced, name, seed)
    return values


def training_dynamics(model: nn.Module, run: Run, data: ImageData) -> Values:
    """Probability of the label while it is learned, by the class that an image has in the end.

    Mean and standard deviation over the epochs, of each training image at its visits, as Swayamdipta et al. (2020)
    map a data set; then the mean over the images of class I and of class II. A key is "<ranking>, <fill>, <images>,
    <quantity>", with the images "all" or those classified rightly in the end.
    """
    split = first_images(data.train, DYNAMICS_IMAGES)
    visits = run.record().probability.set_index(image="image_id")
    probability = visits.sel(image=split.image_ids.numpy()).values  # (epochs, N)
    mean, spread = probability.mean(0), probability.std(0)
    values: Values = {}
    for ranking in ("signed", "magnitude"):
        curves = masking_curves(model, split, fill=MAIN_FILLS, signed=ranking == "signed")
        for fill in MAIN_FILLS:
            of_fill = curves.sel(fill=fill)
            second = (image_class(of_fill) == "II").values
            right = of_fill.correct.isel(masked_fraction=0).values
            for images, chosen in (("all", np.ones_like(right)), ("right", right)):
                key = f"{ranking}, {fill}, {images}"
                values[f"{key}, share of II"] = 100 * float(second[chosen].mean())
                for name, members in (("I", chosen & ~second), ("II", chosen & second)):
                    values[f"{key}, mean {name}"] = _mean(mean[members])
                    values[f"{key}, sd {name}"] = _mean(spread[members])
    return values


METRICS = {
    "background": Metric(lambda s: background_share(s.model, s.few), 3),
    "hits": Metric(lambda s: object_hits(s.model, s.few), 100),
    "sanity": Metric(lambda s: sanity(s.model, s.few), 1_000),
    "robustness": Metric(lambda s: robustness(s.model, s.data.test), 10_000),
    "retrained": Metric(
        lambda s: retrained(s.model, s.data, s.run.description["model"]["name"], s.run.start_config["seed"]),
        10_000,
    ),
    "dynamics": Metric(lambda s: training_dynamics(s.model, s.run, s.data), 1_000),
}


def _without(split: Split, ranks: Tensor, share: float) -> Split:
    """The images without the first-ranked share of their pixels."""
    images = split.images.float()
    k = round(share * ranks[0].numel())
    reduced = mask_pixels(images, ranks, k, "black", black=255 * split.mean)
    return replace(split, images=reduced.round().to(torch.uint8))


def _accuracy_after_training(data: ImageData, name: str, seed: int) -> float:
    config = TrainingConfig(**RETRAINING, seed=seed)
    *_, last = train(create_model(name, data, seed=seed), data, config)
    return float(last.test_accuracy)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _maps(
    model: nn.Module,
    split: Split,
    attribution: str,
    *,
    signed: bool,
    seed: int = 0,
    predicted: bool = False,
) -> Tensor:
    """Saliency maps ``(N, H, W)`` of the labels, or of the classes that the model predicts; on the CPU."""
    hardware, maps = hardware_of(model), []
    for start in range(0, len(split), _CHUNK):
        images, labels = split.batch(slice(start, start + _CHUNK), hardware)
        if predicted:
            with torch.no_grad():
                labels = model(images).argmax(1)
        maps.append(saliency(model, images, labels, attribution, signed=signed, seed=seed + start).cpu())
    return torch.cat(maps)
