"""Schedules of the learning rate."""

import pytest
import torch
from waiting import in_a_thread

from smoot_explore import create_model, train
from smoot_explore.core.pace import pace


@pytest.mark.parametrize(("rate", "epochs"), [(1.0, 5), (1.0, 4), (1e-3, 8), (1.0, 3)])
def test_a_training_that_settles_equals_one_whose_rate_is_lowered_by_hand(data, config, rate, epochs):
    """A tenth in the last quarter of the epochs, bit by bit."""

    def trained(schedule):
        model = create_model("cnn", data)
        settings = config(epochs=epochs, schedule=schedule, learning_rate=rate)
        records = []
        for record in train(model, data, settings):
            records.append((record.train_loss, record.test_accuracy, record.k.tolist()))
            if schedule == "constant" and record.epoch == epochs - epochs // 4:
                settings.learning_rate = rate / 10
        return records, list(model.parameters())

    (ours, weights), (by_hand, others) = in_a_thread(lambda: [trained("settle"), trained("constant")])()
    assert ours == by_hand
    assert all(torch.equal(one, other) for one, other in zip(weights, others, strict=True))


def test_a_warm_up_rises_from_more_than_nothing(config):
    settings = config(epochs=4, warm_up=2.0, schedule="settle")
    assert [pace(settings, done) for done in (0, 1, 2, 3)] == [0.005, 0.5, 1.0, 0.1]
