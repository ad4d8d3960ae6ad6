"""State of the Compare tab: several runs side by side."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import param
import xarray as xr

from smoot_explore import views
from smoot_explore.core.choices import ATTRIBUTIONS, FILLS, names
from smoot_explore.core.classes import accuracy_drop, drop_auc, less_random
from smoot_explore.core.saliency import saliency
from smoot_explore.data.images import Split, balanced
from smoot_explore.errors import reason
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.runs.compare import compare_measured
from smoot_explore.runs.differences import differences
from smoot_explore.runs.run import Run
from smoot_explore.runs.table import ABSENT, augmented, columns, counted_in
from smoot_explore.views.curves import no_drop, roles_of
from smoot_explore.views.palette import METHOD_NAMES, in_words, symbol
from smoot_explore.views.pictures import SCALES
from smoot_explore.views.sketch import Sketch

N_COMPARED_IMAGES = 6
RANDOM = "random"  # the attribution method that knows nothing
_FAR_BEHIND = 3  # points of accuracy, from which on it is said


class Maps(dict[str, np.ndarray]):
    """Saliency ``(n, H, W)`` by the run's label; ``problems`` says of each other run why it has none."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: dict[str, str] = {}


class CompareState(param.Parameterized):
    """Which runs are compared, and under which protocol."""

    fill = param.Selector(
        default="black",
        objects=list(FILLS),
        label="Fill",
        doc="What masked pixels become. It can decide which method looks better: try several.",
    )
    attribution = param.Selector(
        default="gradient",
        objects=list(ATTRIBUTIONS),
        label="Attribution method",
        doc="Which saliency is shown and ranks the pixels.",
    )
    scale = param.Selector(
        default=SCALES[0],
        objects=list(SCALES),
        label="Colour scale",
        doc="One scale for all maps lets them be compared. One for each map hides how strong each is.",
    )

    less_random = param.Boolean(
        default=False,
        label="Less a random order",
        doc="An AUC has two parts: how well the model bears any pixels missing, and what the ranking adds. This leaves "
        "the second: the accuracy less that with pixels masked in a random order. Below 0: better than chance.",
    )
    seeds_together = param.Boolean(
        default=False,
        label="Seeds as bands",
        doc="Runs that differ in their seed alone as one line, their mean, with a band of one standard deviation.",
    )

    def __init__(self) -> None:
        super().__init__()
        for name in ("fill", "attribution"):
            self.param[name].objects = list(names(name))
        self.opened_runs: list[OpenedRun] = []
        self._earlier: dict[
            str, OpenedRun
        ] = {}  # by key: the run as it was measured before its newest epochs

    def show(self, opened_runs: Sequence[OpenedRun]) -> None:
        """Compare these runs; a run with new epochs keeps its last curves until those of the new ones are there."""
        earlier = {s.key: s for s in self.opened_runs if s.curves(self.fill, self.attribution) is not None}
        earlier = {**self._earlier, **earlier}
        self.opened_runs = list(opened_runs)
        self._earlier = {s.key: earlier[s.key] for s in opened_runs if s.key in earlier}

    @property
    def protocol(self) -> str:
        """The chosen protocol in words."""
        less = ", less a random order" if self.less_random else ""
        return f"{in_words(self.fill)} fill, {in_words(self.attribution)} (signed), highest first{less}"

    @property
    def missing(self) -> list[OpenedRun]:
        """Runs whose curves under the chosen protocol are not measured yet."""
        return list({id(opened): opened for opened, _, _ in self.lacking}.values())

    @property
    def lacking(self) -> list[tuple[OpenedRun, str, str]]:
        """What is still to be measured: run, fill and attribution method."""
        return [
            (opened, self.fill, attribution)
            for attribution in self._attributions
            for opened in self.opened_runs
            if opened.curves(self.fill, attribution) is None and not opened.problem((self.fill, attribution))
        ]

    def problems(self) -> dict[str, str]:
        """Why runs, by label, cannot be measured under the chosen protocol."""
        return {
            s.label: "; ".join(whys)
            for s in self.opened_runs
            if (
                whys := list(
                    dict.fromkeys(why for a in self._attributions if (why := s.problem((self.fill, a))))
                )
            )
        }

    @property
    def _attributions(self) -> list[str]:
        """Those whose curves are needed."""
        return list(dict.fromkeys([self.attribution, *([RANDOM] if self.less_random else [])]))

    def curves(self) -> dict[str, xr.Dataset]:
        """Masking curves by the run's label, of the runs where they are measured."""
        found = {s.label: self._curves(s, self.fill) for s in self.opened_runs}
        return {label: curves for label, curves in found.items() if curves is not None}

    def comparable(self) -> tuple[dict[str, xr.Dataset], list[str]]:
        """Those of the curves that are of the same test images as the first, and the labels of the others."""
        alike, others = dict[str, xr.Dataset](), list[str]()
        data = {opened.label: _data_name(opened) for opened in self.opened_runs}
        for label, curves in self.curves().items():
            first = next(iter(alike), None)
            if first is None or (data[label] == data[first] and _same_images(curves, alike[first])):
                alike[label] = curves
            else:
                others.append(label)
        return alike, others

    def _curves(self, opened: OpenedRun, fill: str) -> xr.Dataset | None:
        """Those of a run, less a random order where that is asked for; None where they are not measured."""
        curves = self._standing(opened, fill, self.attribution)
        if curves is None or not self.less_random:
            return curves
        random = self._standing(opened, fill, RANDOM)
        return None if random is None else less_random(curves, random)

    def _standing(self, opened: OpenedRun, fill: str, attribution: str) -> xr.Dataset | None:
        """Of a run that has got an epoch meanwhile, those of before stand until the new ones are there."""
        curves = opened.curves(fill, attribution)
        if curves is None and opened.key in self._earlier:
            curves = self._earlier[opened.key].curves(fill, attribution)
        return curves

    def lines(self) -> dict[str, list[xr.Dataset]]:
        """The curves of each line of the picture, by its name: those of several seeds together where that is asked."""
        (curves, _), groups = self.comparable(), dict[object, list[str]]()
        seen = Counter[tuple[str, int]]()
        for opened in self.opened_runs:
            if opened.label in curves:
                same, seed = _but_seed(opened.run), opened.run.start_config["seed"]
                again = seen[same, seed]  # of one seed, in a line of its own
                seen[same, seed] += 1
                group = (same, again) if self.seeds_together else opened.label
                groups.setdefault(group, []).append(opened.label)
        found = dict[str, list[xr.Dataset]]()
        for labels in groups.values():
            name = labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"
            found[name] = [curves[label] for label in labels]
        return found

    def roles(self) -> dict[str, str]:
        """What each run is drawn as, by its label."""
        return roles_of({opened.label: opened.method for opened in self.opened_runs})

    def drops(self, title: str) -> Sketch:
        """The accuracy drops of the runs where they are measured."""
        lines = self.lines()
        if not lines:
            return no_drop(title)
        known = self.roles()
        roles = {name: known[name if name in known else name.rpartition(" and ")[0]] for name in lines}
        return views.accuracy_drop.sketch(lines, title=title, roles=roles, every_role=True)

    def results(self) -> xr.Dataset:
        """The paper's table, from `compare_measured`: an AUC for each fill measured for the attribution method."""
        return compare_measured((s.run, self._measured(s)) for s in self.opened_runs)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and cells of the table, as text."""
        results = self.results()
        # The class is judged by the first fill, black where it is measured.
        is_black = results.fill == "black"
        with_black = results.drop_auc.notnull()[:, is_black.values].any("protocol")
        results["class_ii_share"] = results.class_ii_share.where(with_black)
        order = np.argsort([_place(fill) for fill in results.fill.values], kind="stable")
        numbers = columns(results.isel(protocol=order), ["fill"])
        heads = [
            " ".join([column.quantity, *map(in_words, column.of)])
            + (
                f" ({column.unit}{' of the test images' if column.quantity == 'class II' else ''})"
                if column.unit
                else ""
            )
            for column in numbers
        ]
        labels = [opened.label for opened in self.opened_runs]
        methods = [METHOD_NAMES.get(method, method) for method in results.method.values]
        told = [
            ", ".join(f"{symbol(name)} {_short(value)}" for name, value in one.items()) or ABSENT
            for one in differences([opened.run for opened in self.opened_runs])
        ]
        data = [_data_name(opened) for opened in self.opened_runs]
        trained = [f"{opened.run.description['data']['n_train']:,}" for opened in self.opened_runs]
        cells = zip(labels, methods, data, trained, told, *(column.cells for column in numbers), strict=True)
        return ["run", "method", "data", "training images", "differs in", *heads], [
            list(row) for row in cells
        ]

    def note(self) -> str:
        """What the numbers of the table depend on, as plain text."""
        if not self.opened_runs:
            return ""
        seeds = sorted({s.run.start_config["seed"] for s in self.opened_runs})
        told = f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        unit = counted_in((s.label, s.run.start_config["patch"]) for s in self.opened_runs)
        less = ", less that of a random order" if self.less_random else ""
        images = augmented((s.label, s.run.augment) for s in self.opened_runs)
        return (
            f"k in {unit}. AUC: area under the accuracy drop in per cent{less}, lower is steeper "
            f"({in_words(self.attribution)}, signed, highest first). "
            "It depends on fill, attribution and ranking: compare within a column only. "
            f"{told}, one training each: a difference of a point may be chance. Class II: black fill, tolerance 0.01."
            + "".join(f" {line}" for line in [*images, *self._warnings()])
        )

    def _warnings(self) -> list[str]:
        """What would mislead in this table: an area from a low start, and runs of different data."""
        told = []
        alike, _ = self.comparable()
        start = {label: float(accuracy_drop(curves)[0]) for label, curves in alike.items()}
        if len(start) > 1 and not self.less_random:  # which begins at 0 in every run
            low, high = min(start.values()), max(start.values())
            area = {label: float(drop_auc(curves)) for label, curves in alike.items()}
            best = min(area, key=lambda label: area[label])
            told.append(
                "AUC is the mean accuracy over all masked shares, so it starts from each run's own accuracy "
                f"({low:.0f} to {high:.0f} % of these images, nothing masked): a run that is right less often has a "
                "smaller area without a steeper drop."
            )
            if high - start[best] > _FAR_BEHIND:
                told.append(
                    f"{best} has the smallest AUC in the plot but also begins at {start[best]:.0f} %, where the most "
                    f"accurate run begins at {high:.0f} %: this is no sign of better saliency."
                )
        data = {opened.label: _data_name(opened) for opened in self.opened_runs}
        if len(set(data.values())) > 1:
            told.append(
                f"These runs are of different data ({', '.join(dict.fromkeys(data.values()))}): compare numbers only "
                "between runs of the same data."
            )
        return told

    def to_csv(self) -> str:
        """The table as CSV, with its note as the last line."""
        heads, cells = self.table()
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(heads)
        writer.writerows(cells)
        writer.writerow([self.note()])
        return file.getvalue()

    def images(self) -> Split | None:
        """The test images whose saliency is shown: one of each class, of the first run's data."""
        if not self.opened_runs:
            return None
        return compared_images(self.opened_runs[0])

    def snapshot(self) -> CompareState:
        """The same choices in a state of their own, to compute with while the page goes on."""
        same = CompareState()
        same.param.update(
            fill=self.fill, attribution=self.attribution, scale=self.scale, less_random=self.less_random,
            seeds_together=self.seeds_together,
        )  # fmt: skip
        same.opened_runs, same._earlier = list(self.opened_runs), dict(self._earlier)
        return same

    def maps(self, opened_runs: Sequence[OpenedRun] | None = None, attribution: str | None = None) -> Maps:
        """Saliency by the run's label, of the runs that know these images and can give it.

        Beside the page, with ``opened_runs`` and ``attribution`` from when it was asked for.
        """
        opened_runs, attribution = (
            self.opened_runs if opened_runs is None else opened_runs,
            attribution or self.attribution,
        )
        maps = Maps()
        if not opened_runs:
            return maps
        split = compared_images(opened_runs[0])
        for opened in opened_runs:
            same = opened.data.image_shape == split.image_shape
            if not same or opened.data.class_names != split.class_names:
                maps.problems[opened.label] = "it was trained on other images or classes"
                continue
            normalised = opened.data.normalize(split.images)
            try:
                with opened.borrowed(quick=attribution == "gradient") as model:
                    maps[opened.label] = saliency(model, normalised, split.labels, attribution).numpy()
            except (
                ValueError,
                RuntimeError,
                AssertionError,
            ) as error:  # a method that this model does not allow
                maps.problems[opened.label] = reason(error)
        return maps

    def _measured(self, opened: OpenedRun) -> list[xr.Dataset]:
        """All curves of the run under the chosen attribution method, black fill first."""
        found = {fill: self._curves(opened, fill) for fill in opened.fills(self.attribution)}
        fills = sorted(found, key=lambda fill: (fill != "black", _place(fill)))
        return [curves for fill in fills if (curves := found[fill]) is not None]


def _but_seed(run: Run) -> str:
    """What a run came of, beside its seed: alike in several seeds of one training.

    A branch is what was moved, whichever run it left. What begins with another run's weights depends on these.
    """
    start = {name: value for name, value in run.start_config.items() if name != "seed"}
    data, model = (run.description[name] for name in ("data", "model"))
    weights = run.origin if run.origin["how"] == "weights" else None
    return repr((start, data.get("fingerprint"), model, run.epochs, run.changes, weights))


def _data_name(opened: OpenedRun) -> str:
    """The data of a run for people; of a folder its last part: the others may be nobody's business."""
    return Path(str(opened.run.description["data"].get("name", "own images"))).name


def _same_images(one: xr.Dataset, other: xr.Dataset) -> bool:
    return np.array_equal(one.image_id, other.image_id) and np.array_equal(one.label, other.label)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(fill: str) -> int:
    """Where a fill stands among others; those that are not known here come last."""
    known = names("fill")
    return known.index(fill) if fill in known else len(known)


def missing_maps(problems: Mapping[str, str]) -> str:
    """Which runs show no saliency and why, as plain text; empty when all do."""
    return "; ".join(f"no saliency of {label} ({why})" for label, why in problems.items())


def compared_images(opened: OpenedRun) -> Split:
    """One test image of each class, as far as they are shown."""
    test = opened.data.test
    return test[balanced(test, min(N_COMPARED_IMAGES, len(test)))]
