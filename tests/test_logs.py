"""Records in the logs that people have: TensorBoard for real, the others by their call signature."""

import inspect
import typing

import numpy as np
import pytest

from smoot_explore import (
    create_model,
    log_to_mlflow,
    log_to_tensorboard,
    log_to_wandb,
    probed,
    train,
)


class WandbRun:
    """The signature of wandb.Run.log; steps that fall are ignored there, here they are an error."""

    def __init__(self):
        self.logged = {}

    def log(self, data, step=None, commit=None):
        assert not self.logged or step >= max(self.logged)
        self.logged.setdefault(step, {}).update(data)


class MlflowModule:
    """The signature of mlflow.log_metrics; its values are floats."""

    def __init__(self):
        self.logged = {}

    def log_metrics(self, metrics, step=None, synchronous=None, run_id=None):
        assert all(type(value) is float for value in metrics.values())
        self.logged.setdefault(step, {}).update(metrics)


@pytest.mark.parametrize(("logger", "there"), [(log_to_wandb, WandbRun), (log_to_mlflow, MlflowModule)])
def test_every_record_is_logged_at_its_step(data, model, config, logger, there):
    settings, logged = config(epochs=2, batch_size=20), there()
    records = []
    for record in train(model, data, settings, every=2, log=logger(logged)):
        records.append(record)
        settings.alpha = 20
    assert list(logged.logged) == [2, 3, 4, 6]  # records of both kinds after step 6 share it
    epoch = records[-1]
    last = logged.logged[6]
    assert last["epoch/test_accuracy"] == epoch.test_accuracy
    assert last["epoch/k_median"] == np.median(epoch.k)
    assert last["step/cross_entropy"] == records[-2].cross_entropy
    assert logged.logged[3]["live/alpha"] == 20


def test_what_is_not_there_is_left_out_and_the_probe_comes_at_its_epochs_step(data, config):
    settings, logged = config(method="traditional", epochs=1, batch_size=20), WandbRun()
    model, log = create_model("cnn", data), log_to_wandb(logged)
    for record in probed(train(model, data, settings), model, data, settings):
        log(record)
    assert list(logged.logged) == [3]
    assert "epoch/kl" not in logged.logged[3]
    assert 0 <= logged.logged[3]["probe/drop_auc"] <= 100


def test_tensorboard_reads_what_was_written(tmp_path, data, model, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        records = list(train(model, data, config(batch_size=20), log=log_to_tensorboard(writer)))
    events = EventAccumulator(str(tmp_path), {"histograms": 0}).Reload()
    read = [(event.step, event.value) for event in events.Scalars("epoch/test_accuracy")]
    assert read == [(record.step, pytest.approx(record.test_accuracy)) for record in records]
    assert [event.step for event in events.Histograms("epoch/k")] == [3, 6]


def test_stopping_a_logged_training_stops_it_at_once(data, model, config):
    model.eval()
    told = []
    records = train(model, data, config(), every=1, log=told.append)
    assert next(records) is told[0]
    assert model.training
    records.close()
    assert not model.training  # what the training has put back


def test_epochs_alone_are_typed_as_such():
    alone, both = typing.get_overloads(train)
    assert inspect.signature(alone).return_annotation == "Iterator[EpochRecord]"
    assert inspect.signature(both).return_annotation == "Iterator[EpochRecord | StepRecord]"
