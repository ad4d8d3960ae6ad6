"""What the commands of smoot-explore are called and take; each loads what it needs when it is carried out."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import param
from click.core import ParameterSource

import smoot_explore
from smoot_explore.cli.terminal import INTERRUPTED, second_press_ends, stderr
from smoot_explore.core.choices import ORDERS, REGISTERED, names
from smoot_explore.core.config import TrainingConfig, setting_names
from smoot_explore.data.names import DATASETS
from smoot_explore.plugin import load_plugin
from smoot_explore.reproduction.experiments import SCALES

if TYPE_CHECKING:
    from smoot_explore.engine.cluster import Scheduler

_FAILURES = (ValueError, TypeError, OSError, RuntimeError)

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where downloads and cached images live. [data/]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


class Commands(click.Group):
    """A group whose commands report what a user can mend in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with second_press_ends(), warnings.catch_warnings():
                warnings.showwarning = _tell
                return super().invoke(ctx)
        except KeyboardInterrupt:
            stderr.print("interrupted")
            ctx.exit(INTERRUPTED)
        except (click.exceptions.Exit, click.Abort):  # click's own ways out, which are RuntimeErrors
            raise
        except _FAILURES as error:
            raise click.ClickException(str(error)) from error


def _tell(message: Warning | str, *_: Any, **__: Any) -> None:
    stderr.print(f"warning: {message}", highlight=False, markup=False, soft_wrap=True)


class Names(click.Choice):
    """A choice among the names of a kind, with what plugins have registered until it is looked at."""

    def __init__(self, kind: str) -> None:
        self.kind, self.case_sensitive = kind, True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        return names(self.kind)


def _load_plugins(ctx: click.Context, option: click.Parameter, places: tuple[str, ...]) -> None:
    for place in places:
        try:
            load_plugin(place)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(smoot_explore.__version__, prog_name="smoot-explore")
@click.option("--plugin", multiple=True, metavar="PACKAGE.MODULE", callback=_load_plugins, expose_value=False,
              help="Import a module of yours first: the fills, rules of k and attribution methods that it registers "
              "can then be named. May be repeated.")  # fmt: skip
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
        kind = Names(name) if name in REGISTERED else click.Choice(list(setting.objects))
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
                     help="Which images a limit or --hold-out takes."),
        root_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


keep_option = click.option(
    "--keep", default="last", show_default=True, metavar="last|all|N",
    help="Epochs of which a run keeps a checkpoint: the last, all, or the N newest.",
)  # fmt: skip


def model_options(command: Callable, own: str = "") -> Callable:
    """Options that say which model to train, and what its run keeps; ``own`` is said of models of one's own.

    The command's argument ``pretrained`` is whether timm's weights are downloaded, or the file that holds them.
    """
    options = [
        click.option("--model", "model_name", default="cnn", show_default=True,
                     help=f"cnn, or the name of a timm model{own}."),
        click.option("--pretrained", is_flag=True, help="Start from timm's pretrained weights (downloaded once)."),
        click.option("--weights", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="Start from pretrained weights in a file, in safetensors as timm publishes them."),
        click.option("--model-option", "model_options", multiple=True, metavar="NAME=VALUE",
                     help="Passed to timm, such as img_size=32. May be repeated."),
        keep_option,
    ]  # fmt: skip

    @functools.wraps(command)
    def with_weights(*arguments: Any, pretrained: bool, weights: Path | None, **rest: Any) -> Any:
        if pretrained and weights is not None:
            raise click.UsageError(
                "give --pretrained or --weights, not both: the file takes the download's place"
            )
        return command(*arguments, pretrained=weights or pretrained, **rest)

    decorated: Callable = with_weights
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


own_model_options = functools.partial(
    model_options, own="; or PACKAGE.MODULE:FUNCTION, where FUNCTION(data, seed) gives an nn.Module"
)


def scheduler_options(command: Callable) -> Callable:
    """Options that say whose workers to use: the command's argument ``scheduler``, a `Scheduler` or None."""
    pem = click.Path(path_type=Path, dir_okay=False)
    options = [
        click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler, such as "
                     "tls://host:8786. [this computer]"),
        click.option("--tls-ca", type=pem, help="The scheduler's certificate authority, a PEM file."),
        click.option("--tls-cert", type=pem, help="This computer's certificate for it."),
        click.option("--tls-key", type=pem, help="The certificate's key."),
    ]  # fmt: skip

    @functools.wraps(command)
    def with_scheduler(
        *arguments: Any,
        scheduler: str | None,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        **rest: Any,
    ) -> Any:
        from smoot_explore.engine.cluster import Scheduler

        try:
            found = Scheduler.of(scheduler, tls_ca, tls_cert, tls_key)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return command(*arguments, scheduler=found, **rest)

    decorated: Callable = with_scheduler
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@main.command("train", short_help="Train a model and record every image's k.")
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@data_options
@click.option("--hold-out", type=click.IntRange(1), metavar="N",
              help="Measure on N of the training images, set apart, instead of the test images.")  # fmt: skip
@model_options
@click.option(
    "--resume",
    is_flag=True,
    help="Start RUN when it is not there; go on where it stopped, with its own data, model and settings; do nothing "
    "when it is finished. The same command can be given again and again, by a queue for example. Of a run that is "
    "there, --epochs, --device, --precision and the settings that may move during training may be new.",
)
@scheduler_options
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
    hold_out: int | None,
    model_name: str,
    pretrained: bool | Path,
    model_options: tuple[str, ...],
    keep: str,
    resume: bool,
    scheduler: Scheduler | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a model and record every image's k in the folder RUN.

    \b
    smoot-explore train runs/smoot --epochs 5
    smoot-explore train runs/photos --data ./photos --image-size 64 --method sgt
    smoot-explore train runs/smoot --resume --epochs 10
    smoot-explore train /shared/runs/smoot --scheduler tls://lab:8786 --tls-ca ca.pem ...

    With --scheduler one of its workers trains. It must see RUN, and the data that have to be downloaded, under the
    same path.
    """

    from smoot_explore.cli.training import resume_run, train_run

    if resume and (run_folder / "config.json").exists():
        given = {
            n: v for n, v in ctx.params.items() if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE
        }
        resume_run(run_folder, given, root, as_json, scheduler)
        return
    source = (data_name, train_images, test_images, root, data_seed, image_size)
    config, kept = TrainingConfig(**settings), int(keep) if keep.isdecimal() else keep
    train_run(
        run_folder, config, source, model_name, pretrained, model_options, kept, hold_out, as_json, scheduler
    )


@main.command("sweep", short_help="Train with each combination of the values of some settings.")
@click.argument("folder", metavar="SWEEP", type=click.Path(path_type=Path))
@click.option("--over", multiple=True, metavar="SETTING=A,B,...",
              help="Values of a setting, such as alpha=1,10,100. May be repeated.")  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(1), help="Train each combination with so many seeds, from --seed on."
)
@click.option("--workers", type=click.IntRange(1),
              help="Worker processes on this computer, with one thread each. [one for each core]")  # fmt: skip
@click.option("--curves", "curve_fills", metavar="FILL,FILL,...",
              help="Also measure each model's masking curves with these fills, such as black,mean.")  # fmt: skip
@click.option("--curve-images", type=click.IntRange(1), default=1000, show_default=True,
              help="Measure them on this many test images, the first ones.")  # fmt: skip
@scheduler_options
@data_options
@own_model_options
@training_options
@json_option
@click.pass_context
def sweep_command(
    ctx: click.Context,
    folder: Path,
    over: tuple[str, ...],
    seeds: int | None,
    workers: int | None,
    scheduler: Scheduler | None,
    curve_fills: str | None,
    curve_images: int,
    data_name: str,
    train_images: int | None,
    test_images: int | None,
    image_size: int | None,
    data_seed: int,
    root: Path | None,
    model_name: str,
    pretrained: bool | Path,
    model_options: tuple[str, ...],
    keep: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train with each combination of the values of some settings, a run for each in the folder SWEEP.

    Stopped or killed, the same command goes on. With more values it adds their trainings, with more --epochs it
    prolongs those that are there, with --curves it measures those that are not. Failed trainings are named, left out,
    and tried again by the same command; the exit code is 1 then.

    \b
    smoot-explore sweep runs/s --over alpha=1,10,100 --over beta=.5,.95 --seeds 3
    smoot-explore sweep runs/s --over method=sgt,smoot --scheduler tls://lab:8786 --tls-ca ca.pem ...
    """
    from smoot_explore.cli.sweep import connected, run_sweep

    source = (data_name, train_images, test_images, root, data_seed, image_size)
    model = (model_name, pretrained, model_options)
    kept = int(keep) if keep.isdecimal() else keep
    with connected(scheduler, workers) as place:
        config = TrainingConfig(**settings)
        curves = tuple(filter(None, (curve_fills or "").split(","))), curve_images
        ctx.exit(run_sweep(folder, config, over, seeds, source, model, kept, curves, place, as_json))


@main.command("curves", short_help="Measure masking curves of trained runs.")
@click.argument("run_folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fill", "fills", multiple=True, type=Names("fill"), default=("black", "mean", "remaining"),
              show_default=True, help="What masked pixels become. May be repeated.")  # fmt: skip
@click.option("--attribution", "attributions", multiple=True, type=Names("attribution"),
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
@scheduler_options
@json_option
def curves_command(
    run_folders: tuple[Path, ...],
    fills: tuple[str, ...],
    attributions: tuple[str, ...],
    ranking: str,
    order: str,
    levels: int,
    images: int | None,
    precision: str,
    tolerance: float,
    name: str,
    root: Path | None,
    scheduler: Scheduler | None,
    as_json: bool,
) -> None:
    """Measure masking curves of trained runs, keep them in the runs, and print AUC and class II.

    \b
    smoot-explore curves runs/smoot --fill black --fill mean
    smoot-explore curves runs/smoot --attribution gradient --attribution integrated_gradients --images 500

    With --scheduler the images are shared out among its workers; RUN need be seen here alone.
    """

    from smoot_explore.cli.results import measure_runs

    measure_runs(
        run_folders, name, images, root, scheduler, tolerance, as_json, levels=levels, order=order,
        fill=list(fills), attribution=list(attributions), signed=ranking == "signed", precision=precision,
    )  # fmt: skip


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

    from smoot_explore.cli.results import print_runs

    print_runs(folders, tolerance, name, as_json)


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
@keep_option
@json_option
def demo_command(
    out: Path, epochs: int, train_images: int, test_images: int, seed: int, keep: str, as_json: bool
) -> None:
    """Train the three methods from the same initial weights on the bundled sample, and compare them.

    In the last quarter of the epochs the learning rate goes down to a tenth, so that the accuracies settle.
    Writes the runs and the figures to a folder. Finished runs in it are used again, stopped ones resumed.
    """

    from smoot_explore.cli.training import demo

    demo(out, epochs, train_images, test_images, seed, int(keep) if keep.isdecimal() else keep, as_json)


@main.command("reproduce", short_help="Reproduce the paper's tables and figures.")
@click.argument("targets", metavar="TARGET...", nargs=-1)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="quick",
    show_default=True,
    help="smoke: only to see that it works; quick: reduced; paper: in full.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for runs, tables and figures; each scale has a folder of its own in it.",
)
@root_option
@click.option(
    "--cifar10",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with CIFAR-10 as image files, train/<class>/ and test/<class>/. [torchvision's files]",
)
@click.option("--seeds", "n_seeds", type=click.IntRange(1), help="Number of seeds. [3]")
@click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Pretrained weights of DeiT-tiny in safetensors, as timm publishes them, for table4, table5 and "
              "figure4. [downloaded at scale paper, else a small transformer from scratch]")  # fmt: skip
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
              help="Number format of the trainings; bfloat16 is fast where the processor has it.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--list", "only_list", is_flag=True, help="Print the targets with what they need, and stop.")
@json_option
@click.pass_context
def reproduce_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    scale: str,
    out: Path,
    root: Path | None,
    cifar10: Path | None,
    n_seeds: int | None,
    weights: Path | None,
    precision: str,
    device: str,
    only_list: bool,
    as_json: bool,
) -> None:
    """Reproduce the paper's tables and figures, each with its report beside the paper's numbers.

    TARGET is one of those that --list prints, several of them, or all. What is done is used again, what was stopped
    goes on: repeat the command.

    \b
    smoot-explore reproduce --list
    smoot-explore reproduce table3 figure3
    smoot-explore reproduce all --scale paper --device cuda
    """

    from smoot_explore.cli.reproduce import list_targets, reproduce

    options = {
        "root": root, "cifar10": cifar10, "n_seeds": n_seeds, "weights": weights, "precision": precision,
        "device": device,
    }  # fmt: skip
    if only_list:
        list_targets(targets, scale, out, options, as_json)
        return
    ctx.exit(reproduce(targets, scale, out, options, as_json))


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
@click.option("--socket", "unix_socket", type=click.Path(path_type=Path), metavar="FILE",
              help="Listen at a Unix socket instead, for a proxy of your own such as JupyterHub's.")  # fmt: skip
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Folder of runs that all visitors see; kept runs go there.")  # fmt: skip
@click.option("--data-folder", "data_folders", multiple=True, type=click.Path(path_type=Path),
              help="Visitors may open folders of images at or below this one. May be repeated. [none]")  # fmt: skip
@root_option
@click.option("--model", "model_places", multiple=True, metavar="PACKAGE.MODULE:FUNCTION",
              help="Let visitors train a model of yours, by the function's name: FUNCTION(data, seed) gives an "
              "nn.Module. May be repeated.")  # fmt: skip
@click.option("--keep-runs/--no-keep-runs", default=True, show_default=True,
              help="Let visitors keep trained runs.")  # fmt: skip
@click.option("--class/--no-class", "class_tab", default=True, show_default=True,
              help="Let visitors see the trainings of all pages, without names but those that they type.")  # fmt: skip
@click.option(
    "--max-trainings", type=click.IntRange(1), help="Trainings at the same time. [half of the cores]"
)
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), default=60, show_default=True,
              help="Computing time of one training, in minutes.")  # fmt: skip
@click.option("--max-queue", type=click.IntRange(0), default=100, show_default=True,
              help="Trainings that may wait.")  # fmt: skip
@click.option("--upload-megabytes", type=click.FloatRange(0, min_open=True), default=5, show_default=True,
              help="Size of an uploaded picture.")  # fmt: skip
@click.option("--weights-megabytes", type=click.FloatRange(0, min_open=True), default=400, show_default=True,
              help="Size of a trained model's weights that the server opens to look at.")  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path),
              help="Folder for the runs of open pages; a scheduler's workers must see it. [temporary]")  # fmt: skip
@scheduler_options
@click.option("--show/--no-show", default=False, show_default=True, help="Open the page in a browser.")
def serve_command(
    port: int,
    address: str,
    network: bool,
    origins: tuple[str, ...],
    unix_socket: Path | None,
    show: bool,
    max_trainings: int | None,
    model_places: tuple[str, ...],
    **given: Any,
) -> None:
    """Serve the explorer, a page to train, watch and compare in a browser.

    Only this computer reaches it unless --network, --address and --origin say otherwise. Ctrl+C stops it, with
    exit code 0.

    \b
    smoot-explore serve
    smoot-explore serve --port 5007 --data-folder ~/photos --show
    """
    from smoot_explore.explorer.server import check_can_serve, serve, use_patient_threads
    from smoot_explore.explorer.settings import ServerSettings

    if max_trainings and given["scheduler"] is not None:
        raise click.UsageError("--max-trainings is for this computer; a --scheduler has workers of its own")
    settings = ServerSettings(**given | ({"max_trainings": max_trainings} if max_trainings else {}))
    check_can_serve(port, address, origins, network, unix_socket)
    use_patient_threads()
    from smoot_explore.engine.makers import load_makers  # with PyTorch

    models = load_makers(model_places)
    serve(
        settings, port=port, address=address, origins=origins, network=network, show=show, models=models,
        unix_socket=unix_socket,
    )  # fmt: skip
