"""Recipes: what each target of ``smoot-explore reproduce`` claims, needs and reports."""

from __future__ import annotations

from dataclasses import dataclass

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
        The experiments, with what is needed of each.
    """

    target: str
    title: str
    claim: str
    uses: tuple[Use, ...] = ()


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
            "two-rules",
            "Two rules of k (CIFAR-10): the paper's words and the likely precursor's code",
            "A public repository of the paper's first author, eight months older (alikabadi/Masking_Based_Grad), moves "
            "k by another rule, upwards alone, and prints k of 155 / 364 / 900 after 30 epochs of CIFAR-10. The "
            "paper's words move k both ways. Do the printed numbers come back, and which rule comes nearer to the "
            "paper's tables?",
            (Use("two-rules", ("test",)),),
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
        Target(
            "road",
            "The accuracy drop with imputed pixels (Fashion-MNIST)",
            "Not in the paper. Masked pixels of a constant or at random are unlike any image; imputing them from their "
            "neighbours (ROAD, Rong et al. 2022) leaves fewer traces of the mask itself. Does it name the same winner?",
            (Use("fashion-mnist", ("attributions", "road")),),
        ),
        Target(
            "roar",
            "Remove and retrain (Fashion-MNIST)",
            "Not in the paper. A network that is trained without the pixels that a map calls salient must be worse, if "
            "they are what matters (ROAR, Hooker et al. 2019).",
            (Use("fashion-mnist", (), ("retrained",)),),
        ),
        Target(
            "attack",
            "Accuracy under attack (Fashion-MNIST and MNIST)",
            "Not in the paper. Saliency-guided training is said to lower robustness to small changes of the image in "
            "one paper and to raise it in another.",
            (Use("fashion-mnist", (), ("robustness",)), Use("mnist", (), ("robustness",))),
        ),
        Target(
            "dynamics",
            "How class I and class II are learned (CIFAR-10)",
            "Not in the paper, which takes class II for a property of images. Are they those that the network learns "
            "late or unsteadily?",
            (Use("cifar10-cnn", (), ("dynamics",)),),
        ),
    )
}
