"""The report of each target, put together from what the laboratory keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from smoot_explore.comparison import Protocol
from smoot_explore.config import METHODS, TrainingConfig, setting_names
from smoot_explore.curves import image_class, peak_fraction
from smoot_explore.records import start_config
from smoot_explore.reproduction import paper
from smoot_explore.reproduction.document import Document, Picture, Table
from smoot_explore.reproduction.experiments import (
    ALL_FILLS,
    EXPERIMENTS,
    MAIN_FILLS,
    SCALES,
    Experiment,
)
from smoot_explore.reproduction.laboratory import Laboratory, Trial
from smoot_explore.reproduction.recipes import Recipe
from smoot_explore.reproduction.sections import (
    BySeed,
    Results,
    hardware_and_versions,
    k_text,
    listed,
    name_of,
    protocol_text,
    what_was_run,
)
from smoot_explore.reproduction.statistics import Difference, Spread, number, paired_difference, spread
from smoot_explore.saliency import saliency
from smoot_explore.views import figures

NOT_YET_RUN = "not yet run"
PAIRS = (("smoot", "sgt"), ("smoot", "traditional"), ("sgt", "traditional"))
TOLERANCES = (0.01, 0.1)
SHOWN_CLASSES = 10


def report(recipe: Recipe, laboratory: Laboratory) -> Document:
    """The report of a target whose work is done."""
    document = _begun(recipe, laboratory)
    _REPORTS[recipe.target](document, recipe, laboratory)
    trials = [trial for e in _experiments(recipe) for trial in laboratory.trials(e)]
    if trials:
        document.parts.append(
            "## Open these runs\n\n"
            "The runs lie in `runs/` beside this file: `smoot-explore serve --runs runs` shows them in the explorer's "
            "Compare tab, `open_run` opens one in a notebook."
        )
        document.parts.append(hardware_and_versions(trials))
    return document


def not_yet_run(recipe: Recipe, laboratory: Laboratory, reason: str) -> Document:
    """The report of a target that could not be run: the paper's numbers, and none of ours."""
    document = _begun(recipe, laboratory)
    for experiment in _experiments(recipe):
        document.parts.append(f"## {experiment.title}\n\n" + what_was_run(laboratory, experiment))
        if experiment.name in paper.RESULTS:
            document.parts.append(_methods_table(experiment, None))
    document.parts.insert(1, f"**{NOT_YET_RUN.capitalize()}:** {reason.splitlines()[0]}")
    document.numbers["not_yet_run"] = reason
    return document


def _begun(recipe: Recipe, laboratory: Laboratory) -> Document:
    numbers = {"scale": laboratory.scale, "claim": recipe.claim, "experiments": {}}
    return Document(recipe.target, recipe.title, [recipe.claim], numbers)


def _experiments(recipe: Recipe) -> list[Experiment]:
    return [EXPERIMENTS[use.experiment] for use in recipe.uses]


# Tables 1 to 5


def _settings_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    rows = []
    for name, published in paper.SETTINGS.items():
        experiment = EXPERIMENTS[name]
        config = experiment.config("smoot", "paper", 0)
        n_pixels = 784 if "mnist" in name else 1024
        rows.append([
            experiment.title,
            f"{published.model}: {experiment.architecture}",
            f"{published.k_init} / {config.k_init * n_pixels:.0f}",
            f"{published.learning_rate:g} / {config.learning_rate:g}",
            f"{published.beta:g} / {config.beta:g}",
            f"{published.kl_weight:g} / {config.kl_weight:g}",
        ])  # fmt: skip
    heads = ["data", "model", "initial k (pixels)", "learning rate", "β", "λ"]
    document.parts.append(Table("Settings of SMOOT: the paper's / ours at scale paper", heads, rows))
    told = [*paper.SETTINGS, "cifar10-cnn", "choices", "shapes"]
    sizes = []
    for name in told:
        for scale in SCALES[1:]:
            experiment, size = EXPERIMENTS[name], EXPERIMENTS[name].scales[scale]
            config = experiment.config(next(iter(experiment.variants)), scale, 0)
            sizes.append([
                f"{name}, {scale}", str(experiment.architecture_at(scale)),
                *(f"{n:,}" for n in (size.train or experiment.full[0], size.test or experiment.full[1])),
                str(config.epochs), str(config.batch_size), f"{config.optimizer} {config.learning_rate:g}",
                "yes" if size.slow_down else "no", str(len(size.seeds)),
            ])  # fmt: skip
    heads = ["experiment, scale", "model", "training images", "test images", "epochs", "batch", "optimiser and rate",
             "slower at the end", "seeds"]  # fmt: skip
    document.parts.append(Table("The experiments and their scales", heads, sizes))
    defaults = [
        [f"`{name}`", str(getattr(TrainingConfig(), name)), TrainingConfig.param[name].doc]
        for name in setting_names()
        if name not in ("device", "seed", "method", "epochs")
    ]
    document.parts.append(Table("All other settings", ["setting", "default", "meaning"], defaults))


def _methods_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    (use,) = recipe.uses
    results = Results(laboratory.trials(experiment), use.curves)
    document.numbers["runs"] = results.numbers()
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        _methods_table(experiment, results),
        "## Differences between methods, seed by seed",
        _differences_table(experiment, results),
        _signs_finding(experiment, results),
        _by_chance(results.n_seeds),
        _k_finding(experiment, results),
    ]
    if "attributions" in use.curves:
        document.parts += _every_protocol(results)
    trial = next(
        t for t in results.trials if t.variant == "smoot" and t.seed == laboratory.seeds(experiment)[0]
    )
    figure = figures.k_trajectories_figure(trial.run.record())
    caption = f"k of all training images under SMOOT, seed {trial.seed}"
    document.parts.append(Picture("k", figure, caption))


def _methods_table(experiment: Experiment, results: Results | None) -> Table:
    """The paper's table beside ours; without results, with "not yet run" in our cells."""
    published = paper.RESULTS[experiment.name]
    with_auc = published["smoot"].auc is not None
    drop = [] if results is None else _drop_protocols(results, signed=True)
    heads = ["method", "k min / median / max", "paper", "accuracy %", "paper"]
    heads += [f"AUC {p.fill.replace('_', ' ')}" for p in drop] or (["AUC"] if with_auc else [])
    heads += ["paper's AUC"] if with_auc else []
    rows = []
    for method, row in published.items():
        cells = [name_of(method)]
        if results is None:
            ours_k, ours_accuracy, ours_auc = NOT_YET_RUN, NOT_YET_RUN, [NOT_YET_RUN] * with_auc
        else:
            ours_k = k_text(results.k(method))
            ours_accuracy = spread(results.accuracy(method).values()).text()
            ours_auc = [spread(results.auc(method, p).values()).text() for p in drop]
        cells += [ours_k, " / ".join(map(str, row.k)), ours_accuracy, f"{row.accuracy:.2f}", *ours_auc]
        cells += [f"{row.auc:.2f}"] if row.auc is not None else []
        rows.append(cells)
    n_seeds = "" if results is None else f"; mean ± standard deviation of {results.n_seeds} seeds"
    protocol = f"; {protocol_text(drop[0], ('fill',))}" if drop else ""
    auc = (
        f". AUC: area under the accuracy drop in per cent, lower is steeper{protocol}"
        if drop or with_auc
        else ""
    )
    caption = (
        f"k in pixels over the training images after the last epoch. The paper's accuracy: {paper.TEST_IMAGES:,} test "
        f"images{auc}{n_seeds}"
    )
    return Table(caption, heads, rows)


def _drop_protocols(results: Results, signed: bool) -> list[Protocol]:
    """Protocols of the accuracy drop by gradient on the most images, one for each fill."""
    wanted = ("gradient", "signed" if signed else "magnitude", "highest")
    found = [p for p in results.protocols if (p.attribution, p.ranking, p.masked_first) == wanted]
    most = max(p.test_images for p in found)
    return [next(p for p in found if p.fill == fill and p.test_images == most) for fill in ALL_FILLS]


class _Compared(NamedTuple):
    """A difference between two methods beside the paper's."""

    quantity: str
    pair: tuple[str, str]
    here: Difference
    paper: float | None

    @property
    def pair_name(self) -> str:
        return f"{name_of(self.pair[0])} − {name_of(self.pair[1])}"


def _compared(experiment: Experiment, results: Results) -> list[_Compared]:
    """Accuracy, and the AUC of every fill by both rankings, of each pair of methods."""
    published = paper.RESULTS[experiment.name]
    quantities: list[tuple[str, Callable[[str], BySeed], dict[str, float | None]]] = [
        ("accuracy", results.accuracy, {m: published[m].accuracy for m in METHODS})
    ]
    for signed in (True, False) if _has_magnitude(results) else (True,):
        for protocol in _drop_protocols(results, signed):
            name = f"AUC {_words(protocol.fill)}, {protocol.ranking}"
            aucs = {m: published[m].auc for m in METHODS}
            quantities.append((name, partial(results.auc, protocol=protocol), aucs))
    compared = []
    for name, measured, reported in quantities:
        for first, second in PAIRS:
            one, other = reported[first], reported[second]
            expected = None if one is None or other is None else one - other
            here = paired_difference(measured(first), measured(second))
            compared.append(_Compared(name, (first, second), here, expected))
    return compared


def _differences_table(experiment: Experiment, results: Results) -> Table:
    rows = [
        [
            c.quantity,
            c.pair_name,
            c.here.text(),
            "–" if c.paper is None else number(c.paper),
            _verdict(c.here, c.paper),
        ]
        for c in _compared(experiment, results)
    ]
    heads = ["quantity", "pair", "here", "paper", "sign"]
    return Table("Differences in points of per cent: mean ± standard deviation over the seeds", heads, rows)


def _signs_finding(experiment: Experiment, results: Results) -> str:
    """What agrees with the paper and what does not, from the table above."""
    told = []
    for pair in PAIRS:
        by_verdict: dict[str, list[str]] = {}
        for c in _compared(experiment, results):
            if c.pair == pair and c.paper is not None:
                by_verdict.setdefault(_verdict(c.here, c.paper), []).append(c.quantity)
        signs = "; ".join(f"{verdict}: {', '.join(quantities)}" for verdict, quantities in by_verdict.items())
        told.append(f"- {name_of(pair[0])} − {name_of(pair[1])}: {signs}")
    return "The signs of the differences, against the paper's:\n\n" + "\n".join(told)


def _has_magnitude(results: Results) -> bool:
    return any(p.ranking == "magnitude" for p in results.protocols)


def _verdict(difference: Difference, expected: float | None) -> str:
    """Whether all seeds have the paper's sign."""
    if expected is None:
        return "not in the paper"
    if round(expected, 6) == 0:
        return "none in the paper"
    if difference.n == 1:
        return "one seed decides nothing"
    agreeing = difference.below if expected < 0 else difference.above
    opposite = difference.above if expected < 0 else difference.below
    if agreeing == difference.n:
        return "as in the paper"
    return "against the paper" if opposite == difference.n else "undecided"


def _by_chance(n_seeds: int) -> str:
    if n_seeds == 1:
        return "One seed has no spread: repeat with more before comparing methods."
    return (
        f"“As in the paper” and “against the paper”: all {n_seeds} seeds have that sign. Where there is no difference "
        f"at all, they still agree in {200 * 0.5**n_seeds:.0f} % of the cases, and this table has many rows."
    )


def _k_finding(experiment: Experiment, results: Results) -> str:
    epochs = next(iter(results.rows["smoot"].values())).epochs
    ours, theirs = results.k("smoot"), paper.RESULTS[experiment.name]["smoot"].k
    widths = ours[2].mean - ours[0].mean, theirs[2] - theirs[0]
    return (
        f"k of SMOOT after {epochs} {'epoch' if epochs == 1 else 'epochs'}: {k_text(ours)}, a range of "
        f"{widths[0]:.0f} pixels. The paper, after {paper.EPOCHS} epochs: {' / '.join(map(str, theirs))}, a range of "
        f"{widths[1]} pixels"
        + (
            ". The lengths differ, so these k cannot be held against each other."
            if epochs != paper.EPOCHS
            else "."
        )
    )


def _every_protocol(results: Results) -> list[str | Table | Picture]:
    """AUC under every attribution, ranking and fill, and where SMOOT does not have the lowest."""
    parts: list[str | Table | Picture] = ["## What the paper does not report: every protocol"]
    most = max(p.test_images for p in results.protocols)
    drops = [  # the gradient is also measured on fewer images, beside the others: once is enough to count
        p
        for p in results.protocols
        if p.masked_first == "highest"
        and p.attribution != "random"
        and (p.attribution != "gradient" or p.test_images == most)
    ]
    means = {p: {m: spread(results.auc(m, p).values()).mean for m in METHODS} for p in results.protocols}
    lowest = [p for p in drops if means[p]["smoot"] < min(means[p]["sgt"], means[p]["traditional"])]
    always = [p for p in drops if all(_below(results, "smoot", m, p) for m in ("sgt", "traditional"))]
    lost = [f for f in ALL_FILLS if not any(p.fill == f for p in lowest)]
    parts.append(
        f"Of {len(drops)} protocols of the accuracy drop (attribution × ranking × fill, the random control left out), "
        f"SMOOT has the lowest mean AUC of the three in {len(lowest)}, and in all seeds in {len(always)}. It does "
        f"**not** win in the other {len(drops) - len(lowest)}"
        + (f"; with no attribution at all for the fill {listed([_words(f) for f in lost])}." if lost else ".")
    )
    for heading, cell in (
        ("traditional / SGT / SMOOT, means over the seeds",
         lambda p: " / ".join(number(means[p][m], 1) for m in METHODS)),
        ("SMOOT − SGT", lambda p: _auc_difference(results, "smoot", "sgt", p)),
        ("SMOOT − traditional", lambda p: _auc_difference(results, "smoot", "traditional", p)),
    ):  # fmt: skip
        parts.append(_protocol_table(f"AUC of the accuracy drop: {heading}", results, "highest", cell))
    insertions = [p for p in results.protocols if p.masked_first == "lowest"]
    best = [p for p in insertions if means[p]["smoot"] > max(means[p]["sgt"], means[p]["traditional"])]
    parts.append(
        "Insertion: the lowest-ranked share m of the pixels is masked, which leaves the highest-ranked 1 − m; read "
        "backwards, the most salient pixels are inserted first. The area under this accuracy is better when it is "
        f"**higher**. SMOOT has the highest mean of the three with {len(best)} of {len(insertions)} fills."
    )
    cell = lambda p: " / ".join(number(means[p][m], 1) for m in METHODS)  # noqa: E731
    heading = "Area under insertion: traditional / SGT / SMOOT, means over the seeds"
    parts.append(_protocol_table(heading, results, "lowest", cell))
    return parts


def _protocol_table(
    caption: str, results: Results, masked_first: str, cell: Callable[[Protocol], str]
) -> Table:
    """A row for each attribution, ranking and number of images, a column for each fill."""
    by_row: dict[str, dict[str, str]] = {}
    for protocol in results.protocols:
        if protocol.masked_first == masked_first:
            row = protocol_text(protocol, ("fill", "masked_first", "precision"))
            by_row.setdefault(row, {})[protocol.fill] = cell(protocol)
    rows = [[row, *(cells[fill] for fill in ALL_FILLS)] for row, cells in by_row.items()]
    return Table(caption, ["ranked by", *map(_words, ALL_FILLS)], rows)


def _auc_difference(results: Results, first: str, second: str, protocol: Protocol) -> str:
    difference = paired_difference(results.auc(first, protocol), results.auc(second, protocol))
    return difference.text(1)


def _below(results: Results, first: str, second: str, protocol: Protocol) -> bool:
    difference = paired_difference(results.auc(first, protocol), results.auc(second, protocol))
    return difference.below == difference.n


# Class I and class II


def _figure1_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    trials = laboratory.trials(experiment)
    document.parts.append("## What was run\n\n" + what_was_run(laboratory, experiment))
    for name, fill in (("test", "black"), ("magnitude", "mean")):
        trial = trials[0]
        curves = _one(trial.run.curves(name), fill)
        figure = figures.masking_curves_figure(curves)
        ranking = curves.attrs["ranking"]
        document.parts.append(
            Picture(f"{ranking}-{fill}", figure, f"{ranking} gradient, {fill} fill, seed {trial.seed}")
        )
    document.parts.append(
        "Both pictures show the same model: which images are of class II, and how many, depends on ranking and fill. "
        "The target `class-ii` measures by how much."
    )
    document.parts.append(_class_table(trials))
    document.numbers["runs"] = Results(trials).numbers()


def _class_ii_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    trials = laboratory.trials(experiment)
    results = Results(trials)
    accuracy = spread(results.accuracy("traditional").values())
    table = _class_table(trials)
    means = _class_shares(trials)
    values = [spread(shares).mean for shares in means.values()]
    near = [_class_protocol(key) for key, shares in means.items() if _covers(shares, paper.CLASS_II_SHARE)]
    document.numbers["runs"] = results.numbers()
    document.numbers["class_ii_shares"] = {_class_protocol(key): shares for key, shares in means.items()}
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        table,
        f"Test accuracy {accuracy.text()} %. Over these protocols the share of class II lies between {min(values):.0f} "
        f"and {max(values):.0f} %. The paper's {paper.CLASS_II_SHARE:.0f} % "
        + (
            f"lies within the seeds' range of: {'; '.join(near)}."
            if near
            else "is within the seeds' range of none of them."
        ),
        Picture("curves", figures.masking_curves_figure(_one(trials[0].run.curves(), "black")),
                f"Masking curves of both classes, seed {trials[0].seed}"),
    ]  # fmt: skip


def _class_table(trials: Sequence[Trial]) -> Table:
    rows = []
    for name, fill in _class_settings():
        cells = [f"{name}, {fill}"]
        measured = [_one(trial.run.curves(_CURVES_OF[name]), fill) for trial in trials]
        for tolerance in TOLERANCES:
            members = [(image_class(curves, tolerance) == "II").values for curves in measured]
            cells.append(spread(100 * m.mean() for m in members).text(1))
        right = [curves.correct.isel(masked_fraction=0).values for curves in measured]
        members = [(image_class(curves, TOLERANCES[0]) == "II").values for curves in measured]
        for group in (right, [~r for r in right]):
            cells.append(
                spread(
                    100 * m[g].mean() if g.any() else np.nan for m, g in zip(members, group, strict=True)
                ).text(1)
            )
        peaks = [peak_fraction(curves).values[m] for curves, m in zip(measured, members, strict=True)]
        cells.append(spread(100 * (p <= 0.5).mean() if len(p) else np.nan for p in peaks).text(1))
        rows.append(cells)
    heads = ["ranking, fill", *(f"class II %, tolerance {t:g}" for t in TOLERANCES), "of the rightly classified %",
             "of the wrongly classified %", "peak at or before half of the pixels %"]  # fmt: skip
    n = trials[0].run.curves().sizes["image"]
    caption = (
        f"Share of class II: gradient, highest first, float32, {n:,} test images; mean ± standard deviation of "
        f"{len(trials)} seeds. The last three columns: tolerance {TOLERANCES[0]:g}; the last one is a share of class II"
    )
    return Table(caption, heads, rows)


_CURVES_OF = {"signed": "test", "magnitude": "magnitude"}


def _class_settings() -> list[tuple[str, str]]:
    return [(ranking, fill) for ranking in _CURVES_OF for fill in MAIN_FILLS]


def _class_shares(trials: Sequence[Trial]) -> dict[tuple[str, str, float], list[float]]:
    return {
        (ranking, fill, tolerance): [
            100 * float((image_class(_one(t.run.curves(_CURVES_OF[ranking]), fill), tolerance) == "II").mean())
            for t in trials
        ]
        for ranking, fill in _class_settings()
        for tolerance in TOLERANCES
    }  # fmt: skip


def _class_protocol(key: tuple[str, str, float]) -> str:
    return f"{key[0]}, {key[1]} fill, tolerance {key[2]:g}"


def _covers(values: Sequence[float], value: float) -> bool:
    return min(values) <= value <= max(values)


def _one(curves: xr.Dataset, fill: str) -> xr.Dataset:
    """The curves of the gradient with one fill."""
    return curves.sel({"method": "gradient", "fill": fill})


# Saliency


def _saliency_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    for experiment, use in zip(_experiments(recipe), recipe.uses, strict=True):
        trials = laboratory.trials(experiment)
        document.parts += [
            f"## {experiment.title}\n\n{what_was_run(laboratory, experiment)}",
            _saliency_picture(laboratory, experiment, trials),
        ]
        document.numbers["experiments"][experiment.name] = Results(trials).numbers()
        if "background" in use.examinations:
            document.parts += _background(document, laboratory, experiment, trials)
    if not any(use.examinations for use in recipe.uses):
        document.parts.append("Nothing is measured on these maps, in the paper or here: they are pictures.")


def _saliency_picture(laboratory: Laboratory, experiment: Experiment, trials: Sequence[Trial]) -> Picture:
    data = laboratory.data(experiment)
    labels = data.test.labels
    present = [label for label in range(data.n_classes) if bool((labels == label).any())][:SHOWN_CLASSES]
    shown = data.test[[int((labels == label).nonzero()[0]) for label in present]]
    seed = trials[0].seed
    maps = {}
    for trial in (t for t in trials if t.seed == seed):
        model = laboratory.model(trial.run)
        device = next(model.parameters()).device
        maps[trial.variant] = (
            saliency(model, shown.normalize().to(device), shown.labels.to(device)).cpu().numpy()
        )
    titles = [data.class_names[label] for label in present]
    figure = figures.saliency_figure(shown.images.numpy(), maps, titles)
    classes = "each class" if len(present) == data.n_classes else f"{len(present)} classes"
    caption = (
        f"{laboratory.data_title(experiment)}: the first test image of {classes} and the signed gradient of its "
        f"label's logit by the three methods, one colour scale for all, seed {seed}"
    )
    return Picture(f"{experiment.name}-saliency", figure, caption)


def _background(
    document: Document, laboratory: Laboratory, experiment: Experiment, trials: Sequence[Trial]
) -> list[str | Table | Picture]:
    shares = _examined(laboratory, trials, "background", "gradient")
    pixels = spread(_examined(laboratory, trials, "background", "pixels")["smoot"].values())
    document.numbers["experiments"][f"{experiment.name}, background"] = shares
    rows = [[name_of(method), spread(values.values()).text(1)] for method, values in shares.items()]
    n = len(laboratory.few(experiment))
    table = Table(
        f"Share of the gradient's magnitude on black pixels, which are {pixels.mean:.1f} % of all; {n:,} test images, "
        f"mean ± standard deviation of {len(laboratory.seeds(experiment))} seeds",
        ["method", "on black pixels %"],
        rows,
    )
    told = []
    for first, second in PAIRS:
        difference = paired_difference(shares[first], shares[second])
        told.append(f"{name_of(first)} − {name_of(second)} {difference.text(1)}")
    return [
        table,
        f"A background gradient close to zero would be a low share. Differences: {'; '.join(told)}.",
    ]


def _examined(
    laboratory: Laboratory, trials: Sequence[Trial], name: str, key: str
) -> dict[str, dict[int, float]]:
    """A number of an examination: variant → seed → value."""
    values: dict[str, dict[int, float]] = {}
    for trial in trials:
        values.setdefault(trial.variant, {})[trial.seed] = laboratory.examination(trial, name)[key]
    return values


def _shapes_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    trials = laboratory.trials(experiment)
    results = Results(trials)
    kinds = ("gradient", "integrated_gradients", "random")
    rates = {kind: _examined(laboratory, trials, "hits", kind) for kind in kinds}
    objects = spread(_examined(laboratory, trials, "hits", "objects")["smoot"].values()).mean
    document.numbers |= {"runs": results.numbers(), "hit_rates": rates, "object_share": objects}
    rows = [
        [name_of(m), spread(results.accuracy(m).values()).text(),
         *(spread(rates[kind][m].values()).text(1) for kind in kinds)]
        for m in results.variants
    ]  # fmt: skip
    n = len(laboratory.few(experiment))
    told = []
    for kind in kinds[:2]:
        differences = [
            f"{name_of(a)} − {name_of(b)} {paired_difference(rates[kind][a], rates[kind][b]).text(1)}"
            for a, b in PAIRS
        ]
        told.append(f"{_words(kind)}: {'; '.join(differences)}")
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        Table(
            "Hit rate: of as many of the most salient pixels (by magnitude) as the object has, the share on the "
            f"object; {n:,} test images, mean ± standard deviation of {results.n_seeds} seeds. Objects cover "
            f"{objects:.1f} % of the pixels: chance hits as often",
            ["method", "accuracy %", "gradient %", "integrated gradients %", "random map %"],
            rows,
        ),
        "Differences in hit rate, in points of per cent. "
        + ". ".join(t[0].upper() + t[1:] for t in told)
        + ".",
        _saliency_picture(laboratory, experiment, trials),
    ]


def _sanity_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    trials = laboratory.trials(experiment)
    keys = list(laboratory.examination(trials[0], "sanity"))
    values = {key: _examined(laboratory, trials, "sanity", key) for key in keys}
    document.numbers |= {"runs": Results(trials).numbers(), "rank_correlations": values}
    kinds = list(dict.fromkeys(key.rsplit(", ", 1)[0] for key in keys))
    depths = list(dict.fromkeys(key.rsplit(", ", 1)[1] for key in keys))
    rows = [
        [
            f"{name_of(method)}, {_words(kind)}",
            *(spread(values[f"{kind}, {n}"][method].values()).text() for n in depths),
        ]
        for kind in kinds
        for method in METHODS
    ]  # fmt: skip
    n_images = len(laboratory.few(experiment))
    whole = {
        (kind, m): spread(values[f"{kind}, {depths[-1]}"][m].values()).mean for kind in kinds for m in METHODS
    }
    (kind, method), largest = max(whole.items(), key=lambda item: abs(item[1]))
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        Table(
            "Rank correlation (Spearman's ρ) of the maps with those of the same model whose last 1, 2, … layers have "
            f"random weights: 1 the same order of pixels, 0 none in common. {n_images:,} test images, mean ± standard "
            f"deviation of {len(laboratory.seeds(experiment))} seeds",
            ["method, map, ranking", *(f"{n} of {depths[-1]} layers" for n in depths)],
            rows,
        ),
        f"With all layers random, the correlation farthest from 0 is {number(largest)} ({name_of(method)}, "
        f"{_words(kind)}). What remains there is told by the image and the architecture, not by what was learned.",
    ]


# The accuracy drop


def _drop_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    for experiment in _experiments(recipe):
        trials = laboratory.trials(experiment)
        results = Results(trials, ("test",))
        document.numbers["experiments"][experiment.name] = results.numbers()
        curves = {
            m: [t.run.curves().sel({"fill": list(MAIN_FILLS)}) for t in trials if t.variant == m]
            for m in METHODS
        }
        title = laboratory.data_title(experiment)
        figure = figures.accuracy_drop_spread_figure(curves, title)
        document.parts += [
            f"## {experiment.title}\n\n{what_was_run(laboratory, experiment)}",
            Picture(
                experiment.name,
                figure,
                f"Accuracy drop on {title}, masking the highest first",
            ),
            _methods_table(experiment, results),
            _order_finding(results),
        ]


def _order_finding(results: Results) -> str:
    """With which fills the three methods fall in the paper's order."""
    orders: dict[str, list[str]] = {}
    for protocol in _drop_protocols(results, signed=True):
        orders.setdefault(_order(results, METHODS, protocol), []).append(_words(protocol.fill))
    told = "; ".join(f"{order} with {listed(fills)} fill" for order, fills in orders.items())
    return f"The paper's order of the AUC is SMOOT < SGT < traditional. The order of the means here: {told}."


def _order(results: Results, variants: Sequence[str], protocol: Protocol) -> str:
    """The variants by their mean AUC: "SMOOT < SGT = traditional"."""
    means = {v: spread(results.auc(v, protocol).values()).mean for v in variants}
    ordered = sorted(variants, key=lambda v: means[v])
    text = name_of(ordered[0])
    for lower, higher in itertools.pairwise(ordered):
        text += f" {'<' if means[lower] < means[higher] else '='} {name_of(higher)}"
    return text


# The open choices


def _choices_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    results = Results(laboratory.trials(experiment), ("test", "magnitude"))
    document.numbers["runs"] = results.numbers()
    signed, magnitude = ({p.fill: p for p in _drop_protocols(results, s)} for s in (True, False))
    published = paper.RESULTS["fashion-mnist"]
    shown = [signed[fill] for fill in MAIN_FILLS] + [magnitude[fill] for fill in MAIN_FILLS]
    rows = [
        [
            f"{name_of(variant)}{_changed(experiment, variant)}",
            k_text(results.k(variant)),
            spread(results.accuracy(variant).values()).text(),
            *(spread(results.auc(variant, p).values()).text(1) for p in shown),
        ]
        for variant in results.variants
    ]
    rows += [
        [f"paper, {name_of(m)}, {paper.EPOCHS} epochs", " / ".join(map(str, row.k)), f"{row.accuracy:.2f}",
         f"{row.auc:.2f} (protocol not named)", *["–"] * (len(shown) - 1)]
        for m, row in published.items()
    ]  # fmt: skip
    heads = ["variant", "k min / median / max", "accuracy %"]
    heads += [f"AUC {p.fill}, {p.ranking}" for p in shown]
    protocol = protocol_text(shown[0], ("fill", "ranking"))
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        Table(
            f"k in pixels after the last epoch; AUC: {protocol}; mean ± standard deviation of {results.n_seeds} seeds. "
            "SMOOT where nothing else is said",
            heads,
            rows,
        ),
        "## Each choice against the default, seed by seed",
        _choices_differences(results, shown),
        _choices_finding(results),
        _choices_order_finding(results, shown),
    ]


def _changed(experiment: Experiment, variant: str) -> str:
    changes = {n: v for n, v in experiment.variants[variant].items() if n != "method"}
    return f" ({', '.join(f'{n}={v}' for n, v in changes.items())})" if changes else ""


def _choices_differences(results: Results, shown: Sequence[Protocol]) -> Table:
    rows = []
    for variant in results.variants[1:]:
        width = [results.value(v, lambda row: row.k_max - row.k_min) for v in (variant, results.variants[0])]
        rows.append([
            name_of(variant),
            paired_difference(*width).text(0),
            paired_difference(results.accuracy(variant), results.accuracy("default")).text(),
            *(_auc_difference(results, variant, "default", p) for p in shown),
        ])  # fmt: skip
    heads = [
        "variant − default",
        "range of k (pixels)",
        "accuracy",
        *(f"AUC {p.fill}, {p.ranking}" for p in shown),
    ]
    return Table("Paired differences, mean ± standard deviation over the seeds", heads, rows)


def _choices_finding(results: Results) -> str:
    """Which variants already left the range of k that the paper ends with; no k is carried forward in time."""
    low, _, high = paper.RESULTS["fashion-mnist"]["smoot"].k
    moving = [v for v in results.variants if next(iter(results.rows[v].values())).method == "smoot"]
    beyond = [v for v in moving if (k := results.k(v))[0].mean < low or k[2].mean > high]
    within = [v for v in moving if v not in beyond]
    epochs = next(iter(results.rows[moving[0]].values())).epochs
    told = []
    if beyond:
        told.append(
            f"After {epochs} of the paper's {paper.EPOCHS} epochs, k has left the paper's final range ({low} … {high}) "
            f"with: {listed([name_of(v) for v in beyond])}. These fit only if k comes back."
        )
    if within:
        told.append(
            f"Still within it, so neither confirmed nor excluded: {listed([name_of(v) for v in within])}."
        )
    return " ".join(told)


def _choices_order_finding(results: Results, shown: Sequence[Protocol]) -> str:
    """Under which protocols training by either ranking gives the paper's order of the AUC."""
    told = []
    for name, variants in (
        ("signed", ("default", "sgt", "traditional")),
        ("magnitude", ("magnitude", "sgt-magnitude", "traditional")),
    ):
        wanted = " < ".join(map(name_of, variants))
        fitting = [f"{p.fill} fill, {p.ranking}" for p in shown if _order(results, variants, p) == wanted]
        told.append(f"training by {name} gradient: {'; '.join(fitting) if fitting else 'none'}")
    return (
        "The paper's order of the AUC (SMOOT < SGT < traditional) appears in the means under these protocols. "
        f"{told[0][0].upper()}{told[0][1:]}. {told[1][0].upper()}{told[1][1:]}. Means over few seeds can fall into an "
        "order by chance, and no protocol is chosen by it."
    )


def _k_spread_report(document: Document, recipe: Recipe, laboratory: Laboratory) -> None:
    (experiment,) = _experiments(recipe)
    trials = laboratory.trials(experiment)
    results = Results(trials)
    document.numbers["runs"] = results.numbers()
    published = paper.RESULTS["fashion-mnist"]["smoot"].k
    records = {(t.variant, t.seed): t.run.record() for t in trials}
    epochs = next(iter(records.values())).epoch.values
    shown = [int(e) for e in epochs if e in (1, 10, 25, 50, 75, paper.EPOCHS, epochs[-1])]
    rows, ends = [], {}
    for variant in results.variants:
        of_variant = [record for (name, _), record in records.items() if name == variant]
        for epoch in shown:
            ks = [record.k.sel(epoch=epoch).values for record in of_variant]
            parts = [spread(float(pick(k)) for k in ks) for pick in (np.min, np.median, np.max)]
            at_bounds = [100 * float(np.mean((k <= _bounds(r)[0]) | (k >= _bounds(r)[1])))
                         for k, r in zip(ks, of_variant, strict=True)]  # fmt: skip
            rows.append([f"{name_of(variant)}{_changed(experiment, variant)}", str(epoch), k_text(parts),
                         spread(at_bounds).text(1)])  # fmt: skip
        ends[variant] = parts
    rows.append(["paper, SMOOT", str(paper.EPOCHS), " / ".join(map(str, published)), "–"])
    first = trials[0]
    document.parts += [
        "## What was run\n\n" + what_was_run(laboratory, experiment),
        "## Table",
        Table(
            "k in pixels of 784 over the training images, mean ± standard deviation of "
            f"{results.n_seeds} seeds; the last column: images whose k lies at a bound, in per cent",
            ["variant", "epoch", "k min / median / max", "at a bound %"],
            rows,
        ),
        *(_k_spread_finding(name_of(variant), parts, published) for variant, parts in ends.items()),
        "With fewer images the smallest and the largest k are less extreme, and with smaller batches the model "
        "takes more steps between two visits of an image: the comparison is of sizes, not of digits.",
        Picture(
            "trajectories",
            figures.k_trajectories_figure(first.run.record()),
            f"k over the epochs, {name_of(first.variant)}, seed {first.seed}",
        ),
    ]


def _bounds(record: xr.Dataset) -> tuple[float, float]:
    start = start_config(record)
    return start["k_min"] * record.attrs["n_pixels"], start["k_max"] * record.attrs["n_pixels"]


def _k_spread_finding(name: str, ends: Sequence[Spread], published: Sequence[int]) -> str:
    ours = [part.mean for part in ends]
    ratio = (ours[2] - ours[0]) / (published[2] - published[0])
    return (
        f"{name[0].upper()}{name[1:]}: k ends in a range of {ours[2] - ours[0]:.0f} pixels, {ratio:.2f} times the "
        f"paper's {published[2] - published[0]}; the median {'below' if ours[1] < published[1] else 'above'} the "
        f"paper's by {abs(ours[1] - published[1]):.0f}."
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


_REPORTS: dict[str, Callable[[Document, Recipe, Laboratory], Any]] = {
    "table1": _settings_report,
    **dict.fromkeys(("table2", "table3", "table4", "table5"), _methods_report),
    "figure1": _figure1_report,
    "class-ii": _class_ii_report,
    **dict.fromkeys(("figure2", "figure4"), _saliency_report),
    "figure3": _drop_report,
    "choices": _choices_report,
    "k-spread": _k_spread_report,
    "shapes": _shapes_report,
    "sanity": _sanity_report,
}
