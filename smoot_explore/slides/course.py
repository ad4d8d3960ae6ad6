"""The slides of the course, in the order of its notebooks."""

from __future__ import annotations

from smoot_explore.slides import accuracy, frozen, masked
from smoot_explore.slides.slide import Slide

_FILL = "Masked pixels take random values between the lowest and the highest of those that remain."

COURSE = (
    Slide(
        "00_quickstart",
        "Quickstart: every image its own k",
        "How many pixels can go before you no longer see what it is?",
        "Red: brighter raises the label, blue: lowers it. The k pixels of lowest saliency are masked. "
        f"{_FILL} Below: probability of the label in %. Bundled SMOOT training.",
        masked.masked_images,
    ),
    Slide(
        "01_why_k_depends_on_the_image",
        "Why k depends on the image",
        "The strongest pixels go first. Can that make the label more probable?",
        "One test image, the pixels of highest saliency masked first. Class II: somewhere the curve is above its start "
        "by more than 0.01. Bundled traditional training.",
        masked.one_curve,
    ),
    Slide(
        "02_saliency_guided_training",
        "Saliency-guided training",
        "Half of the pixels are masked. Who still says the same?",
        f"Right: how far the output moves when k pixels of lowest saliency are masked, mean of {masked.N_MEASURED} "
        f"test images. Left: one of them. {_FILL} One bundled training each.",
        masked.kl_of_masking,
    ),
    Slide(
        "03_smoot",
        "SMOOT: every image its own k",
        "k moves by α·Δ. Where will it rest, and what does β below 0.5 do?",
        f"The network stays as it is: Δ of one training image over k, and the k of 500 images over {frozen.EPOCHS} "
        "visits. k rests where Δ falls through 0, or at a bound. Bundled SMOOT training.",
        frozen.where_k_settles,
    ),
    Slide(
        "04_measuring_saliency",
        "Measuring saliency",
        "Which training has the best maps? Choose the fill before you answer.",
        "Accuracy as the pixels of highest saliency go first, 1,000 test images, one training each. AUC: area under "
        "the line, lower is steeper.",
        accuracy.drop_by_fill,
    ),
    Slide(
        "05_transformers",
        "Transformers",
        "A transformer sees patches. What changes when whole patches are masked?",
        f"Patches of lowest mean saliency go first. {_FILL} Below: probability of the label in %. "
        "The network is the bundled CNN (SMOOT): the notebook trains a transformer.",
        masked.patches,
    ),
    Slide(
        "06_your_own_images_and_model",
        "Your own images and your own model",
        "How many test images are enough to tell these two apart?",
        f"Lines: two bundled trainings on 1,000 test images. Bands: 90 % of {accuracy.N_DRAWS:,} measurements on n of "
        "them, drawn with replacement. Even at 1,000 the bands overlap.",
        accuracy.luck_of_test_images,
    ),
    Slide(
        "07_sweeps",
        "Many trainings: what a setting does, and what chance does",
        "Which of the two settings moves k, and which one turns it round?",
        "Median k of 500 images on the landscape of the bundled SMOOT training: no cell was trained. In real sweeps "
        "every cell has seeds, and chance.",
        frozen.what_settings_do,
    ),
    Slide(
        "08_a_rule_of_your_own",
        "A rule of your own",
        "Three rules make a step of the same Δ. Where does each of them lead k?",
        f"Left: the step that the rule makes. Right: k of 500 images over {frozen.EPOCHS} visits, the network stays "
        f"as it is, β = {frozen.BETA}.",
        frozen.where_a_rule_leads,
    ),
)
