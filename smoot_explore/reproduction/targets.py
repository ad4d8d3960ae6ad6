"""Recipes: what each target of ``smoot-explore reproduce`` claims, needs and reports."""

from __future__ import annotations

from dataclasses import dataclass

from smoot_explore.reproduction.experiments import Experiment
from smoot_explore.reproduction.runner import Use


@dataclass(frozen=True)
class Target:
    """A table or figure of the paper, or a question that the paper leaves open.

    Attributes
    ----------
    target
        Its name on the command line.
    title
        For people.
    claim
        What the paper says, or that it says nothing.
    uses
        The experiments, with the measurements that are needed of each.
    """

    target: str
    title: str
    claim: str
    uses: tuple[Use, ...] = ()

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments, in the order of the uses."""
        return [use.of for use in self.uses]


_TABLE_CURVES = ("test", "magnitude", "insertion", "attributions")
_OPEN_AUC = (
    "It does not say which fill, attribution method and ranking (signed or magnitude) its AUC is measured with, nor "
    "over how many trainings; so our AUC is given for several, and none is chosen to match."
)
_FINE_TUNED = (
    "The paper fine-tunes DeiT-tiny, pretrained on ImageNet, and finds SMOOT above SGT above traditional training. It "
    "reports no AUC here, and one training each."
)

TARGETS = {
    target.target: target
    for target in (
        Target(
            "table1",
            "Table 1: settings",
            "The paper's Table 1 lists data, model, initial k, learning rate, β and λ. The text adds α = 10, 100 "
            "epochs, batches of 256 and Adadelta. It leaves the bounds of k, the unit of α, n for fewer than "
            "five runners-up and the sign of the saliency open.",
        ),
        Target(
            "table2",
            "Table 2: MNIST, k, accuracy and AUC",
            "The paper finds SMOOT at 99.40 %, level with traditional training, with the lowest AUC of the three. "
            + _OPEN_AUC,
            (Use("mnist", _TABLE_CURVES),),
        ),
        Target(
            "table3",
            "Table 3: Fashion-MNIST, k, accuracy and AUC",
            "The paper finds SMOOT with the highest accuracy and the lowest AUC of the three. " + _OPEN_AUC,
            (Use("fashion-mnist", _TABLE_CURVES),),
        ),
        Target(
            "table4",
            "Table 4: CIFAR-10, transformer, k and accuracy",
            _FINE_TUNED,
            (Use("cifar10-transformer", ("test",)),),
        ),
        Target(
            "table5",
            "Table 5: CIFAR-100, transformer, k and accuracy",
            _FINE_TUNED,
            (Use("cifar100-transformer", ("test",)),),
        ),
        Target(
            "figure1",
            "Figure 1: masking curves of class I and class II",
            "The paper shows images whose class probability falls as pixels are masked (class I), and images "
            "whose probability rises first (class II), some with a peak before and some after half of the pixels. "
            "It names neither fill nor ranking nor tolerance.",
            (Use("cifar10-cnn", ("test", "magnitude")),),
        ),
        Target(
            "class-ii",
            "The share of class II",
            "The paper finds 16 % of the CIFAR-10 test images to be of class II, with the two-layer CNN. The share "
            "depends on ranking, fill and tolerance, of which the paper names none: its 16 % is held against all.",
            (Use("cifar10-cnn", ("test", "magnitude")),),
        ),
        Target(
            "figure2",
            "Figure 2: saliency on MNIST and Fashion-MNIST",
            "The paper shows maps of the three methods and wants the gradient of the background close to zero. "
            "It measures nothing on them.",
            (Use("mnist", (), ("background",)), Use("fashion-mnist", (), ("background",))),
        ),
        Target(
            "figure3",
            "Figure 3: accuracy drop on MNIST and Fashion-MNIST",
            "The paper finds that accuracy falls most steeply for SMOOT, whichever saliency method ranks the "
            "pixels. " + _OPEN_AUC,
            (Use("mnist", ("test",)), Use("fashion-mnist", ("test",))),
        ),
        Target(
            "figure4",
            "Figure 4: saliency on CIFAR-10, transformer",
            "The paper shows maps of the three methods. It measures nothing on them.",
            (Use("cifar10-transformer"),),
        ),
        Target(
            "choices",
            "The open choices, one at a time (Fashion-MNIST)",
            "The paper leaves open the sign of the saliency, the unit of α, the bounds of k, the class that Δ follows "
            "and the mode of the saliency's forward pass; the fill is given in words, n for top-5 accuracy. Each "
            "variant differs from the default in one of them.",
            (Use("choices", ("test", "magnitude")),),
        ),
        Target(
            "k-spread",
            "Where k ends after the paper's number of epochs (Fashion-MNIST)",
            "The paper's k of Fashion-MNIST ends between 223 and 576 pixels, with a median of 372. It gives α = 10 "
            "without a unit, and the bounds of k were not to be read.",
            (Use("k-spread"),),
        ),
        Target(
            "shapes",
            "Saliency against the true objects (shapes)",
            "Not in the paper. Generated images whose object is known: how many of the most salient pixels lie on "
            "it?",
            (Use("shapes", (), ("hits",)),),
        ),
        Target(
            "sanity",
            "Sanity checks: maps of randomised models (Fashion-MNIST)",
            "Not in the paper. A map that explains what a model learned must change when its last layers are "
            "given random weights (Adebayo et al. 2018).",
            (Use("fashion-mnist", (), ("sanity",)),),
        ),
    )
}
