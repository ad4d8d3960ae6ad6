"""`GuidedLoss` against slow oracles, and every example of docs/your-own-loop.md as it stands."""

import copy
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smoot_explore import (
    GuidedLoss,
    TrainingConfig,
    mask_pixels,
    rank_pixels,
    register_fill,
    register_k_rule,
    train,
    update_k,
)
from smoot_explore.core.loss import kl_divergence
from smoot_explore.core.saliency import input_gradient

EXAMPLES = dict(
    re.findall(r"```python (\w+)\n(.*?)```", Path("docs/your-own-loop.md").read_text("utf-8"), re.DOTALL)
)
SHAPE = (1, 8, 8)


def small_model(*layers):
    torch.manual_seed(4)
    return nn.Sequential(nn.Conv2d(1, 4, 3), *layers, nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, *SHAPE, generator=generator)
    return images, torch.arange(6) % 3, torch.tensor([9, 2, 5, 0, 7, 3])


def guided(model, n_images=10, **settings):
    return GuidedLoss(model, TrainingConfig(**settings), n_images=n_images, image_shape=SHAPE)


def test_the_loss_equals_the_equations_on_one_batch(batch):
    images, labels, ids = batch
    model = small_model()
    loss = guided(model, fill="mean", kl_weight=0.7, alpha=30.0, beta=0.8, top_n=2)
    out = loss(images, labels, ids)

    x = images.clone().requires_grad_()
    clean = model(x)
    (gradient,) = torch.autograd.grad(clean.gather(1, labels[:, None]).sum(), x, retain_graph=True)
    masked = model(mask_pixels(images, rank_pixels(gradient.mean(1)), 32, "mean"))
    expected = F.cross_entropy(clean, labels) + 0.7 * kl_divergence(clean, masked)
    p = clean.detach().softmax(1)
    k, delta = update_k(
        torch.full((6,), 32.0), p, masked.detach().softmax(1), labels,
        alpha=30.0, beta=0.8, k_min=0.2 * 64, k_max=0.8 * 64, top_n=2,
    )  # fmt: skip
    torch.testing.assert_close(out.loss, expected)
    torch.testing.assert_close((out.k, out.delta), (k, delta))
    torch.testing.assert_close(out.probability, p[torch.arange(6), labels])
    assert torch.equal(out.correct, p.argmax(1) == labels)
    torch.testing.assert_close(out.saliency, gradient.mean(1))
    assert not any(part.requires_grad for part in out[1:])


def test_k_and_the_rest_are_kept_for_the_images_visited_and_no_others(batch):
    images, labels, ids = batch
    loss = guided(small_model(), alpha=30.0)
    out = loss(images, labels, ids)
    others = [1, 4, 6, 8]
    for name in ("k", "delta", "probability", "correct"):
        assert torch.equal(getattr(loss, name)[ids], getattr(out, name))
    assert loss.k[others].tolist() == [32.0] * 4
    assert loss.delta[others].isnan().all()
    assert loss.visits.tolist() == [1 if i in ids.tolist() else 0 for i in range(10)]


def test_in_eval_mode_nothing_is_moved(batch):
    loss = guided(small_model(), alpha=30.0).eval()
    before = copy.deepcopy(loss.state_dict())
    loss(*batch)
    for name, value in loss.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_saved_state_goes_on_as_if_nothing_had_happened(batch):
    one, two = (guided(small_model(), fill="mean", alpha=30.0, k_rule="magnitude") for _ in range(2))
    for _ in range(3):
        one(*batch)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(*batch).k, two(*batch).k)


def test_live_values_of_the_config_take_effect_at_the_next_call(batch):
    loss = guided(small_model(), alpha=0.0, fill="mean")
    assert torch.equal(loss(*batch).k, torch.full((6,), 32.0))
    loss.config.alpha = 50.0
    assert not torch.equal(loss(*batch).k, torch.full((6,), 32.0))


def test_two_halves_of_a_batch_add_up_to_it_with_class_weights_and_smoothing(batch):
    images, labels, ids = batch
    weights = torch.tensor([0.5, 1.0, 1.5])
    gradients = []
    for parts in ([slice(0, 6)], [slice(0, 3), slice(3, 6)]):
        model = small_model()
        config = TrainingConfig(fill="mean", label_smoothing=0.1)
        loss = GuidedLoss(model, config, n_images=10, image_shape=SHAPE, class_weights=weights)
        for part in parts:
            (loss(images[part], labels[part], ids[part]).loss / len(parts)).backward()
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters()]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, momentum=None),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
    ],
)
def test_a_masked_pass_leaves_running_statistics_alone(batch, norm):
    images, labels, ids = batch
    guided_model, plain = small_model(copy.deepcopy(norm)), small_model(copy.deepcopy(norm))
    guided(guided_model)(images, labels, ids)
    plain(images)
    for name, value in plain[1].state_dict().items():
        torch.testing.assert_close(guided_model[1].state_dict()[name], value)
    assert guided_model[1].track_running_stats


@pytest.mark.parametrize("reentrant", [False, True])
def test_batch_norm_inside_checkpointing_is_refused_and_right_with_both(batch, reentrant):
    class Checkpointed(nn.Sequential):
        def forward(self, images):
            return torch.utils.checkpoint.checkpoint(super().forward, images, use_reentrant=reentrant)

    plain = small_model(nn.BatchNorm2d(4))
    model = Checkpointed(*copy.deepcopy(plain))
    with pytest.raises(ValueError, match="BatchNorm2d inside activation .* set batch_norm='both'"):
        guided(model, batch_norm="clean")(*batch)
    assert not model[1]._forward_pre_hooks
    if not reentrant:  # which goes with no gradient of the images
        for one in (plain, model):
            guided(one, fill="mean", batch_norm="both")(*batch).loss.backward()
        for one, two in zip(plain.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad)


def test_with_both_the_masked_pass_is_recorded_too(batch):
    model = small_model(nn.BatchNorm2d(4))
    guided(model, batch_norm="both")(*batch)
    assert model[1].num_batches_tracked == 2


def test_a_masked_pass_normalises_by_its_own_batch(batch):
    images, labels, ids = batch
    seen = []
    model = small_model(nn.BatchNorm2d(4))
    model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.mean((0, 2, 3))))
    guided(model)(images, labels, ids)
    for mean in seen:
        torch.testing.assert_close(mean, torch.zeros(4), rtol=0, atol=1e-5)
    assert len(seen) == 2


def test_frozen_layers_stay_frozen_while_the_rest_trains(data, config):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 6)
    )  # fmt: skip
    model[1].eval()
    for _ in train(model, data, config(epochs=1), every=1):
        assert [layer.training for layer in model] == [True, False, True, True, True, True]
    assert model[1].num_batches_tracked == 0
    assert model[3].num_batches_tracked == 3


def test_a_last_batch_of_one_image_joins_the_one_before(data, config):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6), nn.BatchNorm1d(6))
    (*_, last) = train(model, data, config(epochs=1, batch_size=59))
    assert last.step == 1


def test_the_record_holds_probability_and_correct_of_every_image(data, config):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))
    with torch.no_grad():
        p = model(data.train.normalize()).softmax(1)
    (record,) = train(model, data, config(epochs=1, batch_size=60))
    torch.testing.assert_close(
        torch.tensor(record.probability), p.gather(1, data.train.labels[:, None])[:, 0]
    )
    assert record.correct.tolist() == (p.argmax(1) == data.train.labels).tolist()
    assert record.train_accuracy == pytest.approx(100 * record.correct.mean())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(6, *SHAPE, dtype=torch.uint8)}, "must be floating point, given torch.uint8"),
        ({"labels": torch.rand(6)}, "no single class"),
        ({"ids": torch.arange(6) + 5}, r"ids must lie in 0 … 9, given 5 to 10"),
        ({"images": torch.zeros(8, 8)}, r"images must have shape \(N, C, H, W\)"),
    ],
)
def test_a_first_batch_that_cannot_be_right_is_refused(batch, changes, message):
    given = {**dict(zip(("images", "labels", "ids"), batch, strict=True)), **changes}
    with pytest.raises((ValueError, TypeError), match=message):
        guided(small_model())(**given)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ([nn.Softmax(1)], "returns probabilities"),
        ([nn.Linear(3, 1)], "one number for each image"),
    ],
)
def test_models_that_give_no_logits_are_refused(batch, last, message):
    with pytest.raises(ValueError, match=message):
        guided(nn.Sequential(small_model(), *last))(*batch)


def test_without_gradients_it_says_what_to_do(batch):
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"outside torch.no_grad\(\)"):
        guided(small_model())(*batch)


def test_harvested_maps_of_new_images_are_those_of_shared(batch):
    images, labels, ids = batch
    harvested = guided(small_model(), fill="mean", saliency_pass="harvested")
    first = harvested(images, labels, ids)
    torch.testing.assert_close(first.loss, guided(small_model(), fill="mean")(images, labels, ids).loss)
    first.loss.backward()
    assert (harvested.maps[ids].abs().sum((1, 2)) > 0).all()
    second = harvested(images, labels, ids)
    torch.testing.assert_close(second.saliency, harvested.maps[ids].float())


def test_patches_are_masked_whole_and_k_counts_them(batch):
    images, labels, ids = batch
    seen = []
    model = small_model()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    loss = guided(model, fill="black", patch=4, method="sgt")
    assert loss.k.tolist() == [2.0] * 10
    out = loss(images, labels, ids)
    changed = (seen[1] != seen[0]).view(6, 2, 4, 2, 4).transpose(2, 3).flatten(3)  # (6, 2, 2, 16)
    assert torch.equal(changed.all(3), changed.any(3))
    assert changed.all(3).sum((1, 2)).tolist() == [2] * 6
    means = out.saliency.view(6, 2, 4, 2, 4).mean((2, 4)).flatten(1)
    lowest = means.argsort(1)[:, :2].sort(1).values
    assert torch.equal(changed.all(3).flatten(1).nonzero()[:, 1].view(6, 2), lowest)


def test_patches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="8×8 pixels are not made of whole patches of 3×3"):
        guided(small_model(), patch=3)


def test_a_fill_of_ones_own_is_used_in_training(batch):
    seen = []
    register_fill("test-seven", lambda images, mask, noise, black: images.new_full((1, 1, 1, 1), 7.0))
    model = small_model()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    guided(model, fill="test-seven", method="sgt")(*batch)
    assert (seen[1] == 7).sum((1, 2, 3)).tolist() == [32] * 6


def test_a_rule_of_ones_own_moves_k_and_learns_how_often_the_image_was_visited(batch):
    register_k_rule("test-counting", lambda k, change, labels, epoch, settings: 100.0 * epoch, start=0.25)
    loss = guided(small_model(), k_rule="test-counting")
    assert loss.k.tolist() == [16.0] * 10
    assert loss(*batch).k.tolist() == [64.0] * 6  # cut to the number of pixels


@pytest.mark.parametrize(
    "rule", [lambda k, *_: k.double() + 2, lambda *_: 34, lambda *_: 34.0, lambda *_: torch.tensor(34)]
)
def test_a_rule_may_give_other_numbers_or_one_for_all(batch, rule):
    register_k_rule("test-other", rule)
    loss = guided(small_model(), k_rule="test-other")
    out = loss(*batch)
    assert out.k.dtype == torch.float32
    assert out.k.tolist() == loss.k[batch[2]].tolist() == [34.0] * 6


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda k, *_: k[:2], r"'test-wrong' must give .* real numbers \(6,\).* given torch.float32 \(2,\)"),
        (lambda k, *_: k[:, None], r"given torch.float32 \(6, 1\)"),
        (lambda k, *_: None, "given NoneType"),
    ],
)
def test_a_rule_that_gives_something_else_is_named(batch, rule, message):
    register_k_rule("test-wrong", rule)
    with pytest.raises(TypeError, match=message):
        guided(small_model(), k_rule="test-wrong")(*batch)


def test_balanced_classes_without_their_weights_are_refused():
    with pytest.raises(ValueError, match="give GuidedLoss the weights of the classes, class_weights="):
        guided(small_model(), class_weights="balanced")


def test_bounds_moved_past_each_other_are_refused_at_the_call(batch):
    loss = guided(small_model())
    loss(*batch)
    loss.config.k_min = 0.9
    with pytest.raises(ValueError, match=r"k_min=0.9 is above k_max=0.8"):
        loss(*batch)
    loss.config.k_max = 0.95
    assert loss(*batch).k.min() > 0.89 * 64


def test_images_visited_late_are_ranked_by_their_own_gradient(batch):
    """A sampler with replacement, or drop_last, may leave images out for epochs."""
    images, labels, ids = batch
    loss = guided(small_model(), n_images=6, fill="mean", saliency_pass="harvested")
    ids = torch.arange(6)
    for _ in range(3):
        loss(images[:4], labels[:4], ids[:4]).loss.backward()
    saliency = loss(images[2:], labels[2:], ids[2:]).saliency
    shared = guided(small_model(), fill="mean")(images, labels, ids).saliency
    torch.testing.assert_close(saliency[2:], shared[4:])
    torch.testing.assert_close(saliency[:2], loss.maps[2:4].float())


def test_harvested_saliency_costs_no_gradient_once_all_images_of_a_batch_were_visited(batch, monkeypatch):
    taken = []
    monkeypatch.setattr(
        "smoot_explore.core.loss.input_gradient",
        lambda *given, **options: taken.append(1) or input_gradient(*given, **options),
    )
    loss = guided(small_model(), saliency_pass="harvested")
    for _ in range(3):
        loss(*batch).loss.backward()
    assert len(taken) == 1


def test_harvested_saliency_of_augmented_images_is_refused(data, model, config):
    with pytest.raises(ValueError, match="augment= makes another image of it at each visit"):
        train(model, data, config(saliency_pass="harvested"), augment=lambda images: images)


def test_the_names_of_what_is_here_cannot_be_taken():
    with pytest.raises(ValueError, match="is here already"):
        register_k_rule("smoot", lambda *_: None)
    with pytest.raises(ValueError, match="is here already"):
        register_fill("mean", lambda *_: None)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)  # of the compiler and Lightning
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
@pytest.mark.parametrize("name", [n for n in EXAMPLES if n not in ("setup", "ddp")])
def test_every_example_runs_as_it_stands(name):
    assert len(EXAMPLES[name].splitlines()) <= 25
    torch.manual_seed(0)
    names = {}
    exec(EXAMPLES["setup"] + EXAMPLES[name], names)
    if "loss" in names:
        assert names["loss"].visits.sum() >= 48
        assert all(w.isfinite().all() for w in names["model"].parameters())
    else:
        assert {"lightning": "trainer", "rule": "record"}[name] in names


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the compiler
def test_a_compiled_model_is_trained_though_its_graph_is_gone_through_twice(data, config):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(400, 6)
    )
    (record,) = train(torch.compile(model), data, config(epochs=1, batch_size=30))
    assert np.isfinite(record.train_loss)


def _process(rank, folder, port, name):
    """A process of the DDP example, or of a training on its half of each batch."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    if name == "example":
        names = {}
        exec(EXAMPLES["setup"] + EXAMPLES["ddp"], names)
        torch.save(names["loss"].state_dict(), folder / f"{rank}.pt")
        return
    torch.distributed.init_process_group("gloo")
    loss = guided(small_model(), 24, fill="mean", alpha=50.0, **HOW[name])
    _train(nn.parallel.DistributedDataParallel(loss), slice(rank, None, 2))
    loss.share_maps()
    torch.save(loss.state_dict(), folder / f"{rank}.pt")
    torch.distributed.barrier()  # gloo aborts a process that leaves while another still reads from it
    torch.distributed.destroy_process_group()


def _train(loss, part):
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(24, *SHAPE, generator=generator), torch.arange(24) % 3
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    for ids in torch.randperm(24, generator=generator).split(8) * 2:
        optimizer.zero_grad()
        loss(images[ids][part], labels[ids][part], ids[part]).loss.backward()
        optimizer.step()


HOW = {"training": {}, "harvested": {"saliency_pass": "harvested"}}


@pytest.mark.parametrize("name", [*HOW, "example"])
def test_two_processes_equal_one(tmp_path, name):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (tmp_path, port, name), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=0, atol=0, equal_nan=True)
    if name in HOW:
        single = guided(small_model(), 24, fill="mean", alpha=50.0, **HOW[name])
        _train(single, slice(None))
        for key, value in single.state_dict().items():
            if key == "maps":  # of the mean over half as many images, in bfloat16
                value, one[key] = 2 * value.float(), one[key].float()
                torch.testing.assert_close(one[key], value, rtol=2e-2, atol=1e-4)
                continue
            torch.testing.assert_close(one[key], value, rtol=2e-5, atol=2e-5)
    assert (one["visits"] > 0).all()


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 4, 4), (3, 8, 8)])
def test_another_shape_than_the_images_have_is_refused(batch, shape):
    loss = GuidedLoss(small_model(), n_images=10, image_shape=shape)
    with pytest.raises(ValueError, match=r"shape \(C, H, W\) \(1, 8, 8\), but image_shape is"):
        loss(*batch)


def test_an_image_that_a_batch_holds_twice_is_refused(batch):
    images, labels, ids = batch
    with pytest.raises(ValueError, match="a batch holds an image twice"):
        guided(small_model())(images, labels, ids.clamp(max=5))
