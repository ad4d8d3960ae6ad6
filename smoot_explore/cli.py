"""The command line: smoot-explore train | curves | compare | demo | reproduce | serve."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import param
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from smoot_explore import __version__
from smoot_explore.comparison import Protocol, Row, compare_runs
from smoot_explore.config import METHODS, TrainingConfig, setting_names
from smoot_explore.console import INTERRUPTED, json_option, progress_bar, root_option, stderr, stdout
from smoot_explore.curves import masking_curves
from smoot_explore.data import DATASETS, ImageData, load_data
from smoot_explore.masking import FILLS, ORDERS
from smoot_explore.models import create_model
from smoot_explore.pace import train_and_settle
from smoot_explore.reproduction.command import reproduce_command
from smoot_explore.runs import Run, list_runs, open_run
from smoot_explore.saliency import ATTRIBUTION_METHODS, saliency
from smoot_explore.training import EpochRecord, StepRecord, train

DEMO_BATCH_SIZE = 64  # small, so that a few epochs are enough steps for the methods to come close
_FAILURES = (ValueError, TypeError, OSError, RuntimeError)


class Commands(click.Group):
    """A group whose commands report what a user can mend in one line, without a traceback."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = list(args)  # as they were typed, for a command that starts again
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            stderr.print("interrupted")
            ctx.exit(INTERRUPTED)
        except (click.exceptions.Exit, click.Abort):  # click's own ways out, which are RuntimeErrors
            raise
        except _FAILURES as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="smoot-explore")
def main() -> None:
    """Train, measure and compare saliency-guided training (SGT) and SMOOT.

    Exit codes: 0 done, 1 something went wrong (the message says what), 2 wrong usage, 130 interrupted.
    """


def training_options(command: Callable) -> Callable:
    """An option for each setting of `TrainingConfig`, with its default, range and text."""
    for name in reversed(setting_names()):
        command = _option(name, TrainingConfig.param[name])(command)
    return command


def _option(name: str, setting: param.Parameter) -> Callable:
    flag = f"--{name.replace('_', '-')}"
    kind: Any = str
    if isinstance(setting, param.Boolean):
        flag, kind = f"{flag}/--no-{flag[2:]}", None
    elif isinstance(setting, param.Selector):
        kind = click.Choice(list(setting.objects))
    elif isinstance(setting, param.Number):  # param.Integer is one too
        low, high = setting.bounds or (None, None)
        kind = (click.IntRange if isinstance(setting, param.Integer) else click.FloatRange)(low, high)
    return click.option(flag, name, type=kind, default=setting.default, show_default=True, help=setting.doc)


def data_options(command: Callable) -> Callable:
    """Options that say which data to load."""
    options = [
        click.option(
            "--data", "data_name", default="fashion-mnist-sample", show_default=True,
            help=f"{', '.join(DATASETS)}, or a folder with train/<class>/ and test/<class>/ images.",
        ),
        click.option("--train-images", type=click.IntRange(1), help="Take this many, classes balanced. [all]"),
        click.option("--test-images", type=click.IntRange(1), help="Take this many, classes balanced. [all]"),
        click.option("--image-size", type=click.IntRange(1), help="Resize a folder's images to this many pixels."),
        click.option("--data-seed", type=click.IntRange(0), default=0, show_default=True,
                     help="Which images a limit takes."),
        root_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@main.command("train", short_help="Train a model and record every image's k.")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@data_options
@click.option(
    "--model",
    "model_name",
    default="cnn",
    show_default=True,
    help="cnn, or the name of a timm model.",
)
@click.option("--pretrained", is_flag=True, help="Start from timm's pretrained weights (downloaded once).")
@click.option("--model-option", "model_options", multiple=True, metavar="NAME=VALUE",
              help="Passed to timm, such as img_size=32. May be repeated.")  # fmt: skip
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run where it stopped, with its own data, model and settings. "
    "--epochs, --device, --precision and the settings that may move during training may be new.",
)
@training_options
@json_option
@click.pass_context
def train_command(
    ctx: click.Context,
    run_folder: Path,
    data_name: str,
    train_images: int | None,
    test_images: int | None,
    image_size: int | None,
    data_seed: int,
    root: Path | None,
    model_name: str,
    pretrained: bool,
    model_options: tuple[str, ...],
    resume: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model and record every image's k in the folder RUN.

    \b
    smoot-explore train runs/smoot --epochs 5
    smoot-explore train runs/photos --data ./photos --image-size 64 --method sgt
    smoot-explore train runs/smoot --resume --epochs 10
    """
    if resume:
        explicit = {n for n in ctx.params if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE}
        unused = sorted(explicit - set(settings) - {"run_folder", "resume", "root", "as_json"})
        if unused:
            raise click.UsageError(
                f"--resume takes data and model from the run; leave out: {', '.join(unused)}"
            )
        run = open_run(run_folder)
        config = run.config
        config.param.update(**{name: settings[name] for name in explicit & set(settings)})
        data, model = run.load_data(root), run.load_model()
    else:
        config = TrainingConfig(**settings)
        data = load_data(data_name, train_images, test_images, root, data_seed, image_size)
        options = dict(_name_and_value(text) for text in model_options)
        model = create_model(model_name, data, pretrained, config.seed, **options)
        run = Run.create(run_folder, config, model, data)
    if not _train(run, model, data, config, quiet=as_json):
        stderr.print(
            f"stopped with {_counted(run.epochs, 'epoch')} kept. Go on with: smoot-explore train {run_folder} --resume"
        )
        sys.exit(INTERRUPTED)
    _print_rows(compare_runs([run]), as_json, folder=run_folder)


@main.command("curves", short_help="Measure masking curves of trained runs.")
@click.argument("run_folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fill", "fills", multiple=True, type=click.Choice(FILLS), default=("black", "mean", "remaining"),
              show_default=True, help="What masked pixels become. May be repeated.")  # fmt: skip
@click.option("--method", "methods", multiple=True, type=click.Choice(list(ATTRIBUTION_METHODS)),
              default=("gradient",), show_default=True, help="Attribution method. May be repeated.")  # fmt: skip
@click.option("--ranking", type=click.Choice(["signed", "magnitude"]), default="signed", show_default=True,
              help="Rank pixels by the attribution itself or by its magnitude.")  # fmt: skip
@click.option("--order", type=click.Choice(ORDERS), default="highest", show_default=True,
              help="Which pixels are masked first.")  # fmt: skip
@click.option(
    "--levels",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Steps from 0 to all pixels.",
)
@click.option("--images", type=click.IntRange(1), help="Only this many test images, the first ones. [all]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "auto"]), default="float32",
              show_default=True, help="Number format of the forward passes.")  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(0), default=0.01, show_default=True,
              help="Class II: the probability rises by more than this.")  # fmt: skip
@click.option("--name", default="test", show_default=True, help="Name that the curves are kept under.")
@root_option
@json_option
def curves_command(
    run_folders: tuple[Path, ...],
    fills: tuple[str, ...],
    methods: tuple[str, ...],
    ranking: str,
    order: str,
    levels: int,
    images: int | None,
    precision: str,
    tolerance: float,
    name: str,
    root: Path | None,
    as_json: bool,
) -> None:
    """Measure masking curves of trained runs, keep them in the runs, and print AUC and class II.

    \b
    smoot-explore curves runs/smoot --fill black --fill mean
    smoot-explore curves runs/smoot --method gradient --method integrated_gradients --images 500
    """
    runs = [open_run(folder) for folder in run_folders]
    for run in runs:
        data = run.load_data(root)
        split = data.test if images is None else data.test[:images]
        _measure(
            run, run.load_model(), split, name, levels=levels, order=order, fill=list(fills),
            method=list(methods), signed=ranking == "signed", precision=precision,
        )  # fmt: skip
    _print_rows(compare_runs(runs, tolerance, name), as_json)


@main.command("compare", short_help="Print runs side by side.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--tolerance", type=click.FloatRange(0), default=0.01, show_default=True,
              help="Class II: the probability rises by more than this.")  # fmt: skip
@click.option("--name", default="test", show_default=True, help="Name of the curves to read.")
@json_option
def compare_command(folders: tuple[Path, ...], tolerance: float, name: str, as_json: bool) -> None:
    """Print runs side by side: k, accuracy, AUC and class II.

    RUN is the folder of a run, or a folder of runs.
    """
    runs: list[Run] = []
    for folder in folders:
        if (folder / "config.json").is_file():
            runs.append(open_run(folder))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said below, a line each
            found = list_runs(folder)
        for reason in found.refused.values():
            stderr.print(f"left out: {reason}", soft_wrap=True)
        if not found:
            raise ValueError(f"{folder} holds no run; train one with: smoot-explore train {folder}/NAME")
        runs += found
    for run in (run for run in runs if not run.epochs):
        stderr.print(
            f"left out: {run.path} has no completed epoch; train --resume goes on with it", soft_wrap=True
        )
    compared = [run for run in runs if run.epochs]
    if not compared:
        raise ValueError("none of these runs has a completed epoch to compare")
    _print_rows(compare_runs(compared, tolerance, name), as_json)


@main.command("demo", short_help="Train the three methods on the bundled sample and compare them.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True,
              help="Folder for the runs and the figures.")  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(1), default=8, show_default=True, help="Epochs for each method."
)
@click.option("--train-images", type=click.IntRange(1), default=10_000, show_default=True,
              help="Training images, classes balanced.")  # fmt: skip
@click.option("--test-images", type=click.IntRange(10), default=2_000, show_default=True,
              help="Test images, classes balanced.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Of the initial weights, the order of the images, dropout and the fills.")  # fmt: skip
@json_option
def demo_command(
    out: Path, epochs: int, train_images: int, test_images: int, seed: int, as_json: bool
) -> None:
    """Train the three methods from the same initial weights on the bundled sample, and compare them.

    In the last quarter of the epochs the learning rate goes down to a tenth, so that the accuracies settle.
    Writes the runs and the figures to a folder. Finished runs in it are used again, stopped ones resumed.
    """
    data = load_data("fashion-mnist-sample", train_images, test_images)
    runs, models = {}, {}
    for method in METHODS:
        config = TrainingConfig(method=method, epochs=epochs, seed=seed, batch_size=DEMO_BATCH_SIZE)
        model = create_model("cnn", data, seed=seed)
        folder = out / method
        if (folder / "config.json").is_file():
            run = open_run(folder)
            config.param.update(**run.config.live_values()._asdict())
            if run.epochs > epochs:
                raise ValueError(
                    f"{folder} has {run.epochs} epochs, more than {epochs}; choose another --out"
                )
        else:
            run = Run.create(folder, config, model, data)
        if not _train(run, model, data, config, quiet=as_json, slow_down=True):
            stderr.print("stopped; the same command goes on from here")
            sys.exit(INTERRUPTED)
        runs[method], models[method] = run, run.load_model(model)
        if not run.has_curves() or run.curves().attrs["epoch"] != run.epochs:
            fills = ["black", "mean", "remaining"]
            _measure(run, model, data.test, "test", fill=fills, precision="auto")
    written = _demo_figures(out, data, runs, models)
    _print_rows(compare_runs(runs.values()), as_json, folder=out)
    if not as_json:
        pictures = "\n".join(f"  {path}" for path in written if path.suffix == ".png")
        stdout.print(f"\nfigures (PNG, and SVG beside them):\n{pictures}", highlight=False, soft_wrap=True)


main.add_command(reproduce_command)


@main.command("serve", short_help="Serve the explorer, a page to train, watch and compare in a browser.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5006, show_default=True, help="Port to listen on."
)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--network", is_flag=True, help="Allow an address that other computers reach; see docs/serving.md."
)
@click.option("--origin", "origins", multiple=True, metavar="HOST[:PORT]",
              help="Host that visitors type to see the page, besides this computer's. May be repeated.")  # fmt: skip
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Folder of runs that all visitors see; kept runs go there.")  # fmt: skip
@click.option("--data-folder", "data_folders", multiple=True, type=click.Path(path_type=Path),
              help="Visitors may open folders of images at or below this one. May be repeated. [none]")  # fmt: skip
@root_option
@click.option("--keep-runs/--no-keep-runs", default=True, show_default=True,
              help="Let visitors keep trained runs.")  # fmt: skip
@click.option(
    "--max-trainings", type=click.IntRange(1), help="Trainings at the same time. [half of the cores]"
)
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), default=60, show_default=True,
              help="Computing time of one training, in minutes.")  # fmt: skip
@click.option("--max-queue", type=click.IntRange(0), default=100, show_default=True,
              help="Trainings that may wait.")  # fmt: skip
@click.option("--upload-megabytes", type=click.FloatRange(0, min_open=True), default=5, show_default=True,
              help="Size of an uploaded picture.")  # fmt: skip
@click.option("--show/--no-show", default=False, show_default=True, help="Open the page in a browser.")
@click.pass_context
def serve_command(
    ctx: click.Context,
    port: int,
    address: str,
    network: bool,
    origins: tuple[str, ...],
    show: bool,
    max_trainings: int | None,
    **given: Any,
) -> None:
    """Serve the explorer, a page to train, watch and compare in a browser.

    Only this computer reaches it unless --network, --address and --origin say otherwise. Ctrl+C stops it, with
    exit code 0.

    \b
    smoot-explore serve
    smoot-explore serve --port 5007 --data-folder ~/photos --show
    """
    # Here, not above: training and comparing need no Panel.
    from smoot_explore.explorer.server import check_can_serve, restart_with_patient_threads, serve
    from smoot_explore.explorer.settings import ServerSettings

    settings = ServerSettings(**given | ({"max_trainings": max_trainings} if max_trainings else {}))
    check_can_serve(port, address, origins, network)
    restart_with_patient_threads(ctx.find_root().obj)
    serve(settings, port=port, address=address, origins=origins, network=network, show=show)


def _train(
    run: Run, model: Any, data: ImageData, config: TrainingConfig, *, quiet: bool, slow_down: bool = False
) -> bool:
    """Train with a progress bar; False when the user interrupted it.

    ``slow_down`` takes the learning rate to a tenth for the last quarter of the epochs (`train_and_settle`).
    """

    steps = -(-len(data.train) // config.batch_size)
    with progress_bar(f"{config.method}", config.epochs * steps, "epoch 0") as update:
        update(completed=run.epochs * steps)
        start = train_and_settle if slow_down else train
        records = start(model, data, config, run=run, every=max(1, steps // 20))
        try:
            for record in records:
                if isinstance(record, StepRecord):
                    speed = f"epoch {record.epoch}/{config.epochs}  {record.images_per_second:,.0f} images/s"
                    update(completed=record.step, state=speed)
                else:
                    update(completed=record.step)
                    if not quiet:
                        stdout.print(_epoch_line(config, record), highlight=False)
        except KeyboardInterrupt:
            records.close()  # type: ignore[attr-defined]
            return False
    return True


def _epoch_line(config: TrainingConfig, record: EpochRecord) -> str:
    k = f"k {record.k.min():.0f}/{np.median(record.k):.0f}/{record.k.max():.0f}  "
    return (
        f"{config.method:<11} epoch {record.epoch:>3}/{config.epochs}  loss {record.train_loss:.3f}  "
        f"test accuracy {record.test_accuracy:.1f} %  {'' if config.method == 'traditional' else k}"
        f"{record.duration_seconds:.1f} s"
    )


def _measure(run: Run, model: Any, split: Any, name: str, **protocol: Any) -> None:
    with progress_bar(f"curves of {run.name}", len(split), "") as update:
        curves = masking_curves(model, split, **protocol, progress=lambda done, _: update(completed=done))
    run.save_curves(curves, name)


def _demo_figures(out: Path, data: ImageData, runs: dict[str, Run], models: dict[str, Any]) -> list[Path]:
    from smoot_explore.views import figures

    curves = {method: run.curves() for method, run in runs.items()}
    motive = curves["traditional"].isel(fill=0)
    first_of_class = [int((data.test.labels == label).nonzero()[0]) for label in range(data.n_classes)]
    shown = data.test[first_of_class]
    images = shown.normalize()
    maps = {}
    for method, model in models.items():
        on = images.to(next(model.parameters()).device)
        maps[method] = saliency(model, on, shown.labels.to(on.device)).cpu().numpy()
    drawn = {
        "accuracy_drop": figures.accuracy_drop_figure(curves),
        "masking_curves": figures.masking_curves_figure(motive),
        "k_trajectories": figures.k_trajectories_figure(runs["smoot"].record()),
        "saliency": figures.saliency_figure(shown.images.numpy(), maps, list(data.class_names)),
    }
    return [path for name, figure in drawn.items() for path in figures.save_figure(figure, out / name)]


def _print_rows(rows: list[Row], as_json: bool, folder: Path | None = None) -> None:
    if as_json:
        content = {
            "runs": [_plain(row) for row in rows],
            **({"folder": str(folder)} if folder else {}),
        }
        click.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    named_by_method = all(row.run == row.method for row in rows)
    one_length = len({row.epochs for row in rows}) == 1
    protocols = list(dict.fromkeys(auc.protocol for row in rows for auc in row.aucs))
    varying = [name for name in Protocol._fields[1:] if len({getattr(p, name) for p in protocols}) > 1]
    with_curves = bool(protocols)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run" if not named_by_method else "method")
    if not named_by_method:
        table.add_column("method")
    columns = [] if one_length else ["epochs"]
    columns += ["k\nmin", "\nmedian", "\nmax", "accuracy\n%"]
    columns += ["\n".join(["AUC", p.fill, *(str(getattr(p, name)) for name in varying)]) for p in protocols]
    for column in columns + (["class II\n%"] if with_curves else []):
        table.add_column(column, justify="right")
    for row in rows:
        values = {auc.protocol: f"{auc.value:.2f}" for auc in row.aucs}
        share = "–" if math.isnan(row.class_ii_share) else f"{row.class_ii_share:.1f}"
        table.add_row(
            row.run,
            *([] if named_by_method else [row.method]),
            *([] if one_length else [str(row.epochs)]),
            *(f"{k:.0f}" for k in (row.k_min, row.k_median, row.k_max)),
            f"{row.test_accuracy:.2f}",
            *(values.get(protocol, "–") for protocol in protocols),
            *([share] if with_curves else []),
        )
    stdout.print()
    # As wide as its numbers need, also on a narrow terminal: a cut number is worth nothing.
    Console(width=max(stdout.width, Console(width=1000).measure(table).maximum)).print(table)
    tests = " / ".join(f"{n:,}" for n in dict.fromkeys(row.n_test for row in rows))
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(row.seed for row in rows))
    length = f"{_counted(rows[0].epochs, 'epoch')}, " if one_length else ""
    notes = [f"k in pixels over the training images; accuracy on {tests} test images; {length}seed {seeds}."]
    if with_curves:
        first = protocols[0]
        same = {name: getattr(first, name) for name in Protocol._fields[1:] if name not in varying}
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in same.items())
        notes.append(
            f"AUC: area under the accuracy drop in per cent, lower is steeper ({told}). It depends on all of these "
            "and on the fill: compare within a column only."
        )
        shares = "; ".join(dict.fromkeys(row.class_ii_protocol for row in rows if row.aucs))
        notes.append(f"class II: the label's probability rises when pixels are masked ({shares}).")
    else:
        notes.append("No masking curves yet: smoot-explore curves RUN measures AUC and class II.")
    for note in notes:
        stdout.print(f"\n{note}" if note is notes[0] else note, highlight=False)


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _plain(row: Row) -> dict[str, Any]:
    content = row._asdict() | {"aucs": [{**a.protocol._asdict(), "value": a.value} for a in row.aucs]}
    return {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in content.items()}


def _name_and_value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--model-option")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    main()
