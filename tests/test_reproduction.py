"""The targets that reproduce the paper: their settings, what they measure, and what their reports say."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from smoot_explore import (
    RunError,
    accuracy,
    drop_auc,
    load_data,
    masking_curves,
    open_run,
    views,
)
from smoot_explore.cli.commands import main
from smoot_explore.core.choices import METHODS
from smoot_explore.core.pace import pace
from smoot_explore.reproduction import metrics, paper
from smoot_explore.reproduction import runner as laboratory_module
from smoot_explore.reproduction.document import Document, Table
from smoot_explore.reproduction.experiments import EXPERIMENTS, MEASUREMENTS, SCALES, Architecture
from smoot_explore.reproduction.metrics import (
    METRICS,
    background_share,
    object_hits,
    retrained,
    robustness,
    sanity,
)
from smoot_explore.reproduction.reports import _REPORTS, beyond
from smoot_explore.reproduction.reports.choices import _at_a_bound
from smoot_explore.reproduction.reports.tables import sign
from smoot_explore.reproduction.runner import Runner, Trial, UnavailableError, Use
from smoot_explore.reproduction.statistics import Difference, number, paired_difference, spread
from smoot_explore.reproduction.targets import TARGETS
from smoot_explore.runs.compare import compare_runs

SHAPES = Use("shapes", ("test",), ("hits",))


def reproduce(*arguments):
    return CliRunner().invoke(main, ["reproduce", *map(str, arguments), "--device", "cpu"])


@pytest.fixture(scope="module")
def smoke_command(tmp_path_factory):
    """The folder and the outcome of the command for several targets."""
    folder = tmp_path_factory.mktemp("results")
    targets = (
        *("table3", "class-ii", "two-rules", "k-spread", "shapes", "sanity"),
        *("road", "roar", "attack", "dynamics"),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (metrics, beyond):
            patch.setattr(module, "REMOVED", (0.5,))
            patch.setattr(module, "EPSILONS", (0, 4))
        patch.setitem(metrics.RETRAINING, "epochs", 1)
        result = reproduce(*targets, "--scale", "smoke", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder, result


@pytest.fixture(scope="module")
def smoke(smoke_command):
    """A smoke result with runs, metrics and tables of several targets."""
    return smoke_command[0] / "smoke"


def small(folder, monkeypatch, **scale):
    """A runner whose shapes experiment is smaller still."""
    experiment = EXPERIMENTS["shapes"]
    size = replace(experiment.scales["smoke"], few_images=6, curve_images=6, **scale)
    monkeypatch.setitem(
        EXPERIMENTS, "shapes", replace(experiment, scales={**experiment.scales, "smoke": size})
    )
    return Runner(folder, "smoke", device="cpu")


# Statistics


def test_paired_differences_are_those_of_each_seed_worked_out_by_hand():
    first, second = {0: 10.0, 1: 12.5, 2: 9.0}, {2: 9.5, 1: 12.0, 0: 11.5}
    by_hand = np.array([10.0 - 11.5, 12.5 - 12.0, 9.0 - 9.5])
    mean = by_hand.sum() / 3
    sd = math.sqrt(((by_hand - mean) ** 2).sum() / 2)
    found = paired_difference(first, second)
    assert found[:2] == pytest.approx((mean, sd))
    assert found[2:] == (3, 2, 1)


def test_what_a_seed_does_to_both_methods_cancels_in_their_difference():
    first = {0: 10.0, 1: 50.0, 2: 90.0}
    found = paired_difference(first, {seed: value + 2 for seed, value in first.items()})
    assert (found.mean, found.sd) == (-2, 0)
    assert spread(first.values()).sd == pytest.approx(40)


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ({0: 2.0, 1: 4.0}, "+2.0 ± 1.4 (2 of 2 above 0)"),
        ({0: 5.0, 1: 0.0}, "+1.5 ± 3.5 (1 of 2 above 0)"),
        ({0: -5.0, 1: 2.0}, "−2.5 ± 4.9 (1 of 2 below 0)"),
        ({0: 1.0, 1: 1.0}, "0.0 (2 of 2 equal to 0)"),
    ],
)
def test_a_difference_tells_how_many_seeds_are_on_the_side_of_its_mean(first, text):
    assert paired_difference(first, {0: 1.0, 1: 1.0}).text(1) == text


def test_methods_of_different_seeds_are_not_paired():
    with pytest.raises(ValueError, match=r"the same seeds, given \[0, 1\] and \[0, 2\]"):
        paired_difference({0: 1.0, 1: 1.0}, {0: 1.0, 2: 1.0})


def test_one_seed_has_no_spread_and_none_has_no_mean():
    assert spread([3.25]).text() == "3.25"
    with pytest.raises(ValueError, match="at least one seed"):
        spread([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.001, "0.00"), (-1.5, "−1.50"), (1234.5, "1,234.50"), (math.nan, "–")],
)
def test_numbers_in_tables_have_a_proper_minus_and_no_minus_zero(value, text):
    assert number(value) == text


def test_a_number_of_numpy_is_rounded_as_exactly_as_any_other():
    value = 29.650000000000002
    assert number(np.float64(value), 1) == number(value, 1) == "29.7"


@pytest.mark.parametrize(
    ("below", "above", "expected", "verdict"),
    [
        (3, 0, -1.0, " ✓"),
        (0, 3, -1.0, " ✗"),
        (0, 3, 1.0, " ✓"),
        (2, 1, -1.0, ""),
        (3, 0, 0.0, ""),
        (3, 0, None, ""),
    ],
)
def test_a_sign_counts_only_when_all_seeds_have_it(below, above, expected, verdict):
    assert sign(Difference(0.0, 1.0, 3, below, above), expected) == verdict


def test_one_seed_decides_nothing():
    assert sign(Difference(-1.0, math.nan, 1, 1, 0), -1.0) == ""


# Recipes


def test_every_recipe_needs_only_what_there_is_and_has_a_report():
    assert set(_REPORTS) == set(TARGETS)
    for target in TARGETS.values():
        for use in target.uses:
            assert set(use.curves) <= set(MEASUREMENTS)
            assert set(use.metrics) <= set(METRICS)
            assert set(EXPERIMENTS[use.experiment].scales) == set(SCALES)


def test_the_settings_of_every_experiment_go_together():
    for experiment in EXPERIMENTS.values():
        for scale in SCALES:
            for variant in experiment.variants:
                experiment.config(variant, scale, 1).check()


@pytest.mark.parametrize("name", paper.SETTINGS)
def test_the_paper_scale_has_the_papers_settings(name):
    experiment, published = EXPERIMENTS[name], paper.SETTINGS[name]
    n_pixels = EXPERIMENTS[name].n_pixels
    config, size = experiment.config("smoot", "paper", 0), experiment.scales["paper"]
    found = (config.k_init * n_pixels, config.learning_rate, config.beta, config.kl_weight)
    assert found == (published.k_init, published.learning_rate, published.beta, published.kl_weight)
    assert (config.epochs, config.batch_size, config.alpha, config.optimizer) == (100, 256, 10, "adadelta")
    assert (size.train, size.test, config.schedule) == (None, None, "constant")
    assert len(size.seeds) >= 3


def test_each_choice_differs_from_the_default_in_one_setting():
    experiment = EXPERIMENTS["choices"]
    default = experiment.config("default", "quick", 0).to_dict()
    for variant in experiment.variants:
        given = experiment.config(variant, "quick", 0).to_dict()
        changed = {name for name in given if given[name] != default[name]} - {"method"}
        assert len(changed) <= (2 if variant.startswith("bounds") else 1), variant


# The runner


def test_the_methods_of_a_seed_start_from_the_same_weights_and_other_seeds_do_not(tmp_path, monkeypatch):
    runner, weights = small(tmp_path, monkeypatch), {}
    experiment = EXPERIMENTS["shapes"]
    for variant, seed in [("traditional", 0), ("sgt", 0), ("smoot", 0), ("smoot", 1)]:
        training = runner._train(experiment, variant, seed)
        next(training)
        training.close()  # in the first epoch: the run still holds its initial weights
        run = runner._run_folder(experiment, variant, seed)
        weights[variant, seed] = safetensors.torch.load_file(run / "model.safetensors")["dense2.weight"]
    assert weights["traditional", 0].equal(weights["sgt", 0])
    assert weights["traditional", 0].equal(weights["smoot", 0])
    assert not weights["smoot", 0].equal(weights["smoot", 1])


def test_work_that_is_stopped_again_and_again_ends_with_the_same_numbers(tmp_path, monkeypatch):
    use = Use("shapes", ("test",))
    runner = small(tmp_path / "once", monkeypatch, seeds=(0,), train=50)
    stopped = Runner(tmp_path / "stopped", "smoke", device="cpu")
    for _ in runner.work([use]):
        pass
    for patience in range(2, 60):
        work = stopped.work([use])
        for _, progress in zip(range(patience), work, strict=False):
            assert 0 <= progress.done <= progress.total
        work.close()
        if progress.doing == "done":
            break
    for one, other in zip(*(place.trials(EXPERIMENTS["shapes"]) for place in (runner, stopped)), strict=True):
        assert one.run.record().k.equals(other.run.record().k)
        assert one.run.record().test_accuracy.equals(other.run.record().test_accuracy)
        assert one.run.curves().probability.equals(other.run.curves().probability)


def test_the_last_quarter_of_the_epochs_is_slower_and_the_run_says_so(smoke):
    run = open_run(smoke / "runs" / "shapes-smoot-seed0")
    assert run.start_config["schedule"] == "settle"
    assert [pace(run.config, done) for done in range(4)] == [1, 1, 1, 0.1]


def test_a_finished_run_of_before_there_were_schedules_is_used_and_an_unfinished_one_is_not(
    tmp_path, monkeypatch
):
    """They moved the learning rate as a live change: the same steps."""
    runner, experiment = small(tmp_path, monkeypatch, seeds=(0,)), EXPERIMENTS["shapes"]
    list(runner.work([SHAPES]))
    folder = runner._run_folder(experiment, "smoot", 0)
    config, journal = (json.loads((folder / name).read_text()) for name in ("config.json", "journal.json"))
    del config["config"]["schedule"]
    change = {"step": 7, "epoch": 4, "name": "learning_rate", "old": 1.0, "new": 0.1}
    old = journal | {"changes": [change], "live": journal["live"] | {"learning_rate": 0.1}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "journal.json").write_text(json.dumps(old))
    assert runner._known_run(experiment, "smoot", 0).finished
    assert [progress.doing for progress in runner.work([SHAPES])] == ["done"]
    (folder / "journal.json").write_text(json.dumps(journal))
    with pytest.raises(RunError, match=r"last learning_rate 1.0 instead of 0.1"):
        runner._known_run(experiment, "smoot", 0)
    (folder / "journal.json").write_text(json.dumps(old | {"finished": False}))
    with pytest.raises(RunError, match=r"schedule 'constant' instead of 'settle'"):
        runner._known_run(experiment, "smoot", 0)


def test_a_run_with_other_settings_is_refused_and_left_alone(tmp_path, monkeypatch):
    runner = small(tmp_path, monkeypatch, seeds=(0,))
    training = runner._train(EXPERIMENTS["shapes"], "smoot", 0)
    next(training)
    training.close()
    monkeypatch.setitem(EXPERIMENTS["shapes"].variants, "smoot", {"method": "smoot", "alpha": 20.0})
    with pytest.raises(RunError, match=r"alpha 10.0 instead of 20.0.*Choose another --out"):
        list(runner.work([SHAPES]))
    other = Runner(tmp_path, "smoke", device="cpu")
    monkeypatch.setitem(EXPERIMENTS["shapes"].variants, "smoot", {"method": "smoot"})
    monkeypatch.setattr(other, "data", lambda _: load_data("shapes", 100, 40, seed=5))
    with pytest.raises(RunError, match="other images"):
        other._known_run(EXPERIMENTS["shapes"], "smoot", 0)


def test_measuring_one_attribution_after_the_other_equals_measuring_all_together(smoke):
    run = open_run(smoke / "runs" / "fashion-mnist-smoot-seed1")
    kept = run.curves("attributions")
    together = masking_curves(
        run.load_model(),
        run.load_data().test[:10],
        4,
        fill=list(kept.fill.values),
        attribution=list(kept.attribution.values),
    )
    assert kept.correct.equals(together.correct)
    np.testing.assert_allclose(kept.probability, together.probability, atol=1e-6)


def test_curves_measured_otherwise_are_measured_anew(tmp_path, monkeypatch):
    runner = small(tmp_path, monkeypatch, seeds=(0,))
    use = Use("shapes", ("test",))
    list(runner.work([use]))
    assert [progress.doing for progress in runner.work([use])] == ["done"]
    run = runner.trials(EXPERIMENTS["shapes"])[0].run
    run.save_curves(run.curves().isel(image=slice(0, 3)))
    assert any("curves 'test'" in progress.doing for progress in runner.work([use]))


def test_the_pretrained_weights_are_asked_for_by_the_real_loading_code(tmp_path, monkeypatch):
    asked = []

    def without_weights(name, data, pretrained, seed, **options):
        asked.append((name, pretrained, seed))
        raise RuntimeError("the pretrained weights could not be had\nmore")

    monkeypatch.setattr(laboratory_module, "load_data", lambda *_: load_data("shapes", 12, 6))
    monkeypatch.setattr(laboratory_module, "create_model", without_weights)
    with pytest.raises(UnavailableError, match="pretrained weights could not be had"):
        list(Runner(tmp_path, "paper", device="cpu").work(TARGETS["table4"].uses))
    assert asked == [("deit_tiny_patch16_224", True, 0)]


def test_a_seed_count_or_scale_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one seed, given 0"):
        Runner(tmp_path, "smoke", n_seeds=0)
    with pytest.raises(ValueError, match="did you mean 'smoke'"):
        Runner(tmp_path, "smok")


def test_the_precision_of_the_trainings_can_be_chosen_and_is_kept_to(tmp_path, monkeypatch):
    use, experiment = Use("shapes"), EXPERIMENTS["shapes"]
    runner = small(tmp_path, monkeypatch, seeds=(0,))
    assert runner.experiment(use).config("smoot", "smoke", 0).precision == "float32"
    list(runner.work([use]))
    other = Runner(tmp_path, "smoke", device="cpu", precision="bfloat16")
    with pytest.raises(RunError, match="precision 'float32' instead of 'bfloat16'"):
        list(other.work([use]))
    assert experiment.config("smoot", "paper", 0).precision == "float32"


@pytest.fixture
def tiny_transformer(monkeypatch):
    """The experiment of Table 4 with a transformer as small as can be, and its name and options."""
    options = {"img_size": 32, "patch_size": 16, "depth": 1, "embed_dim": 24, "num_heads": 1}
    experiment = EXPERIMENTS["cifar10-transformer"]
    tiny = replace(
        experiment,
        architecture=Architecture("vit_tiny_patch16_224", options, pretrained=True),
        variants={"smoot": {}},
    )
    monkeypatch.setitem(EXPERIMENTS, "cifar10-transformer", tiny)
    return "vit_tiny_patch16_224", options


def test_with_weights_from_a_file_the_paper_s_transformer_is_fine_tuned_at_every_scale(
    tmp_path, tiny_transformer
):
    import timm

    name, options = tiny_transformer
    source = timm.create_model(name, num_classes=7, **options)
    timm.models.save_for_hf(source, tmp_path / "weights", safe_serialization=True)
    weights = tmp_path / "weights" / "model.safetensors"
    use = Use("cifar10-transformer")
    runner = Runner(tmp_path / "results", "smoke", weights=weights, n_seeds=1, device="cpu")
    config = runner.experiment(use).config("smoot", "smoke", 0)
    assert (config.optimizer, config.learning_rate, config.beta) == ("adadelta", 0.001, 0.8)
    list(runner.work([use]))
    (trial,) = runner.trials(runner.experiment(use))
    assert trial.run.finished
    assert trial.run.description["model"]["pretrained"]
    started = trial.run.model_at(0).state_dict()["model.patch_embed.proj.weight"]
    assert started.equal(source.state_dict()["patch_embed.proj.weight"])
    assert [progress.doing for progress in runner.work([use])] == ["done"]
    other = tmp_path / "other.safetensors"
    changed = {key: 2 * value for key, value in source.state_dict().items()}
    safetensors.torch.save_file(changed, other)
    with pytest.raises(RunError, match="other pretrained weights"):
        list(Runner(tmp_path / "results", "smoke", weights=other, n_seeds=1, device="cpu").work([use]))


# Metrics


def test_the_background_share_of_an_even_map_is_the_share_of_black_pixels(data, linear):
    images = data.test.images.clone()
    images[:, :, :8] = 0
    split = replace(data.test, images=images)
    with torch.no_grad():
        linear[1].weight.fill_(0.5)
    values = background_share(linear, split)
    black = 100 * float((images == 0).all(1).float().mean())
    assert (values["gradient"], values["pixels"]) == pytest.approx((black, black))
    assert black >= 25


def test_hit_rates_need_true_masks(data, model):
    assert object_hits(model, data.test)["objects"] == pytest.approx(
        100 * float(data.test.object_masks.float().mean())
    )
    with pytest.raises(ValueError, match="need data with true object masks"):
        object_hits(model, replace(data.test, object_masks=None))


def test_sanity_randomises_every_number_of_last_layers(data, model):
    values = sanity(model, data.test[:4])
    assert {key.rsplit(", ", 1)[1] for key in values} == {"1", "2", "3", "4"}
    assert all(-1 <= value <= 1 for value in values.values())


def test_without_any_pixels_a_fresh_network_can_only_guess(data, model, monkeypatch):
    monkeypatch.setattr(metrics, "REMOVED", (1.0,))
    values = retrained(model, data, "cnn", seed=0)
    assert values.keys() == {"none, 0", "signed, 1", "magnitude, 1", "random, 1"}
    shares = [100 * float((data.test.labels == label).float().mean()) for label in range(data.n_classes)]
    for ranking in ("signed", "magnitude", "random"):  # the same class for all images, whichever
        assert any(values[f"{ranking}, 1"] == pytest.approx(share) for share in shares)


def test_what_is_removed_is_the_first_ranked_share_and_becomes_the_mean_of_the_training_images(data):
    split = data.test[:4]
    ranks = torch.stack([torch.randperm(split.n_pixels).view(split.images.shape[2:]) for _ in range(4)])
    reduced = metrics._without(split, ranks, 0.25).images
    gone = ranks < round(0.25 * split.n_pixels)
    mean = (255 * split.mean).round().to(torch.uint8).view(1, -1, 1, 1).expand_as(reduced)
    for i in range(4):
        assert reduced[i][:, gone[i]].equal(mean[i][:, gone[i]])
        assert reduced[i][:, ~gone[i]].equal(split.images[i][:, ~gone[i]])


def test_an_attack_of_no_size_leaves_the_accuracy_and_only_so_many_images_are_attacked(
    data, model, monkeypatch
):
    monkeypatch.setattr(metrics, "EPSILONS", (0, 8))
    monkeypatch.setattr(metrics, "ATTACKED_IMAGES", 6)
    values = robustness(model, data.test)
    assert values["0"] == pytest.approx(accuracy(model, data.test[:6]))
    assert values["8"] <= values["0"]


def test_a_number_that_is_not_there_is_null_in_the_file_and_nan_when_read(tmp_path, monkeypatch):
    runner = small(tmp_path, monkeypatch, seeds=(0,))
    monkeypatch.setitem(
        METRICS, "hits", METRICS["hits"]._replace(measure=lambda subject: {"x": math.nan, "y": 1.0})
    )
    list(runner.work([SHAPES]))
    trial = runner.trials(runner.experiment(SHAPES))[0]
    assert '"x": null' in runner._values_file(trial.run, "hits").read_text()
    values = runner.metric(trial, "hits")
    assert math.isnan(values["x"])
    assert values["y"] == 1


# Reports and the command


def test_a_log_that_shows_no_bar_has_a_line_for_each_piece_of_work(smoke_command):
    lines = smoke_command[1].stderr.splitlines()
    assert lines[0] == "table3: 0 % done; train fashion-mnist-traditional-seed0"
    pieces = [found.groups() for line in lines if (found := re.match(r"table3: (\d+) % done; (.*)$", line))]
    shares = [int(share) for share, _ in pieces]
    assert shares == sorted(shares)
    assert len(pieces) == len({doing for _, doing in pieces})


def test_the_table_says_what_the_runs_say(smoke):
    content = json.loads((smoke / "table3.json").read_text())
    runs = [open_run(smoke / "runs" / f"fashion-mnist-smoot-seed{seed}") for seed in (0, 1)]
    results = compare_runs(runs)
    accuracies = results.test_accuracy.values
    black = results.drop_auc[:, 0].values
    table = content["tables"][0]
    smoot = {row[0]: row[table["heads"].index("SMOOT")] for row in table["rows"]}
    assert smoot["AUC black, signed"] == f"{black.mean():.2f} ± {black.std(ddof=1):.2f}"
    assert f"{accuracies.mean():.2f}" in smoot["accuracy %"]
    assert smoot["the paper, k"] == "223 / 372 / 576"
    assert smoot["the paper, AUC"] == "36.18"


def test_the_report_is_complete_in_itself(smoke):
    text = (smoke / "table3.md").read_text()
    for part in (
        "smoke run", "stands in for Fashion-MNIST", "epochs 4 (paper: 100)", "seeds 0, 1", "float32", "signed",
        "20 test images", "mean ± standard deviation of 2 seeds", "insertion", "torch 2",
    ):  # fmt: skip
        assert part in text
    assert (smoke / "table3-k.png").stat().st_size > 1000
    content = json.loads((smoke / "table3.json").read_text())
    assert len(content["runs"]) == 6
    assert {run["seed"] for run in content["runs"]} == {0, 1}
    assert all(len(run["data"]["fingerprint"]) == 64 for run in content["runs"])


def test_the_share_of_class_ii_in_the_report_is_that_of_the_curves(smoke):
    content = json.loads((smoke / "class-ii.json").read_text())
    table = content["tables"][0]
    shares = []
    for seed in (0, 1):
        curves = open_run(smoke / "runs" / f"cifar10-cnn-traditional-seed{seed}").curves("magnitude")
        p = curves.sel(attribution="gradient", fill="mean").probability.values
        shares.append(100 * (p.max(1) > p[:, 0] + 0.1).mean())
    assert content["class_ii_shares"]["magnitude, mean fill, tolerance 0.1"] == pytest.approx(shares)
    (row,) = [row for row in table["rows"] if row[0] == "magnitude, mean"]
    assert row[2].startswith(number(np.mean(shares), 1))


def test_images_at_a_bound_are_counted_after_reading_a_record_back(smoke):
    record = open_run(smoke / "runs" / "k-spread-default-seed0").record()
    k = np.full(10, 0.5 * 784, np.float32)
    k[:3], k[9] = np.float32(0.2 * 784), np.float32(0.8 * 784)
    assert _at_a_bound(k, record) == pytest.approx(40)


def test_what_a_ranking_adds_is_its_distance_below_the_random_order(smoke):
    content = json.loads((smoke / "table3.json").read_text())
    aucs = {}
    for run in content["runs"]:
        for auc in run["aucs"]:
            if (auc["test_images"], auc["masked_first"], auc["fill"]) == (10, "highest", "mean"):
                aucs.setdefault((run["variant"], auc["attribution"]), []).append(auc["value"])
    gains = [np.mean(aucs[m, "random"]) - np.mean(aucs[m, "gradient"]) for m in METHODS]
    (table,) = [t for t in content["tables"] if t["caption"].startswith("AUC of a random order minus")]
    (row,) = [row for row in table["rows"] if row[0] == "gradient"]
    assert row[table["heads"].index("mean")] == " / ".join(number(gain, 1) for gain in gains)


def test_the_dynamics_are_those_of_the_visits_of_each_image(smoke):
    run = open_run(smoke / "runs" / "cifar10-cnn-traditional-seed1")
    record, split = run.record(), run.load_data().train
    values = Runner(smoke, "smoke").metric(
        Trial(EXPERIMENTS["cifar10-cnn"], "traditional", 1, run), "dynamics"
    )
    curves = masking_curves(run.load_model(), split, fill="mean")
    groups = {"I": [], "II": []}
    for i in range(len(split)):
        curve = curves.probability.values[i]
        visits = [float(record.probability[epoch, i]) for epoch in range(record.sizes["epoch"])]
        groups["II" if curve.max() > curve[0] + 0.01 else "I"].append((np.mean(visits), np.std(visits)))
    assert values["signed, mean, all, share of II"] == pytest.approx(100 * len(groups["II"]) / len(split))
    for name, members in groups.items():
        means = np.mean(members, axis=0)
        assert values[f"signed, mean, all, mean {name}"] == pytest.approx(means[0], abs=1e-5)
        assert values[f"signed, mean, all, sd {name}"] == pytest.approx(means[1], abs=1e-5)


def test_the_rule_of_the_precursor_stands_beside_what_it_printed(smoke):
    (table,) = [
        t
        for t in json.loads((smoke / "two-rules.json").read_text())["tables"]
        if "at a bound" in t["caption"]
    ]
    rows = {(row[0], row[1]): row[2:] for row in table["rows"]}
    assert rows["magnitude rule (k_rule=magnitude)", "1"][0] == "0 / 0 / 0"
    assert rows["magnitude rule (k_rule=magnitude)", "4"][1] == "100.0"  # at its own lower bound
    assert rows["printed by the precursor's code", "30"][0] == "155 / 364 / 900"


def test_imputed_curves_are_held_against_a_random_order_under_the_same_fill(smoke):
    content = json.loads((smoke / "road.json").read_text())
    curves = open_run(smoke / "runs" / "fashion-mnist-sgt-seed0").curves("road").sel(fill="noisy linear")
    auc = {name: float(drop_auc(curves.sel(attribution=name))) for name in ("random", "gradient")}
    below = content["below_random"]["gradient, noisy linear"]["sgt"]["0"]
    assert below == pytest.approx(auc["random"] - auc["gradient"])


def test_attacks_and_retraining_are_reported_with_their_numbers(smoke):
    runs, measured = smoke / "metrics", {}
    for name in ("retrained", "robustness"):
        file = runs / f"fashion-mnist-smoot-seed0-{name}.json"
        measured[name] = json.loads(file.read_text())["values"]
    roar, attack = (json.loads((smoke / f"{name}.json").read_text()) for name in ("roar", "attack"))
    assert roar["accuracy"]["signed, 0.5"]["smoot"]["0"] == measured["retrained"]["signed, 0.5"]
    assert attack["experiments"]["fashion-mnist"]["4"]["smoot"]["0"] == measured["robustness"]["4"]


def test_asking_again_trains_nothing_and_writes_the_same_table(smoke):
    text = (smoke / "shapes.md").read_text()
    weights = {path: path.stat().st_mtime_ns for path in smoke.glob("runs/*/model.safetensors")}
    result = reproduce("shapes", "--scale", "smoke", "--out", smoke.parent, "--json")
    assert json.loads(result.stdout)["targets"][0]["done"] is True
    assert (smoke / "shapes.md").read_text() == text
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


def test_what_cannot_be_had_is_not_yet_run_and_never_a_number(tmp_path, monkeypatch):
    def offline(*_):
        raise RuntimeError("cifar100 cannot be read\nmore")

    monkeypatch.setattr(laboratory_module, "load_data", offline)
    result = reproduce("table5", "table1", "--out", tmp_path)
    assert result.exit_code == 1
    assert "table5 could not be run: cifar100 cannot be read" in result.stderr
    (table,) = json.loads((tmp_path / "quick" / "table5.json").read_text())["tables"]
    assert table["caption"] == "Ours: not yet run"
    assert [row[0] for row in table["rows"]] == ["the paper, k", "the paper, accuracy %"]
    assert table["rows"][1][1:4] == ["75.75", "78.10", "79.65"]
    assert "**Not yet run:** cifar100 cannot be read\n" in (tmp_path / "quick" / "table5.md").read_text()
    assert (tmp_path / "quick" / "table1.md").is_file()


def test_an_earlier_report_is_not_replaced_by_not_yet_run(tmp_path, monkeypatch):
    def offline(*_):
        raise RuntimeError("cifar10 cannot be read")

    monkeypatch.setattr(laboratory_module, "load_data", offline)
    report = tmp_path / "quick" / "table4.md"
    report.parent.mkdir()
    report.write_text("numbers of a week")
    result = reproduce("table4", "--out", tmp_path)
    assert (result.exit_code, report.read_text()) == (1, "numbers of a week")
    assert "table4.md is left as it was" in result.stderr


def test_the_list_names_every_target_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entries = json.loads(reproduce("--list", "--json").stdout)["targets"]
    assert [entry["target"] for entry in entries] == list(TARGETS)
    assert next(e for e in entries if e["target"] == "table3")["runs"] == 9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tabel3"], 1, "did you mean 'table3'"),
        ([], 2, "name a target"),
        (["table1", "--scale", "big"], 2, "Invalid value for '--scale'"),
        (["table1", "--seeds", "0"], 2, "Invalid value for '--seeds'"),
        (["table1", "--cifar10", "nowhere"], 2, "Invalid value for '--cifar10'"),
    ],
)
def test_what_goes_wrong_is_said_with_its_exit_code(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    result = reproduce(*arguments)
    assert (result.exit_code, message in result.stderr) == (code, True)
    assert not list(tmp_path.iterdir())


def test_a_document_keeps_its_tables_in_text_and_in_json_without_nan(tmp_path):
    table = Table("Caption", ["a", "b"], [["1", "2"]])
    written = Document("t", "Title", ["Text.", table, {"x": math.nan}]).write(tmp_path)
    assert written[0].read_text() == "# Title\n\nText.\n\n*Caption*\n\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
    assert json.loads(written[1].read_text())["x"] is None


def test_the_band_of_the_accuracy_drop_is_the_spread_over_the_seeds(smoke):
    runs = [open_run(smoke / "runs" / f"fashion-mnist-sgt-seed{seed}") for seed in (0, 1)]
    curves = [run.curves().sel(fill=["black"]) for run in runs]
    picture = views.accuracy_drop({"sgt": curves}, "Fashion-MNIST")
    drops = np.stack([100 * c.correct.mean("image").values.squeeze() for c in curves])
    band, line = list(picture)
    np.testing.assert_allclose(line.dimension_values(1), drops.mean(0))
    np.testing.assert_allclose(band.dimension_values(2), drops.mean(0) + drops.std(0, ddof=1))
