import json

import numpy as np
import pytest

from smoot_explore import TrainingConfig
from smoot_explore.core.config import LiveValues, setting_names


def test_the_defaults_are_the_papers_settings_for_fashion_mnist():
    config = TrainingConfig()
    assert (config.beta, config.alpha, config.k_init, config.top_n) == (0.95, 10, 0.5, 5)
    assert (config.kl_weight, config.learning_rate, config.optimizer, config.batch_size) == (
        1,
        1,
        "adadelta",
        256,
    )


def test_every_setting_has_a_label_and_a_text():
    for name in setting_names():
        setting = TrainingConfig.param[name]
        assert setting.label
        assert setting.doc
        assert setting.doc.endswith(".")


def test_settings_survive_json():
    config = TrainingConfig(method="sgt", alpha=3, seed=5)
    assert TrainingConfig(**json.loads(json.dumps(config.to_dict()))).to_dict() == config.to_dict()


def test_live_values_are_settings_and_plain_numbers():
    values = TrainingConfig(alpha=3).live_values()
    assert set(LiveValues._fields) < set(setting_names())
    assert values.alpha == 3.0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"alhpa": 1}, AttributeError, "unknown setting 'alhpa'; did you mean 'alpha'"),
        ({"alpha": -1}, ValueError, "alpha.* must be at least 0"),
        ({"alpha": float("nan")}, ValueError, "alpha"),
        ({"beta": 1.5}, ValueError, "beta.* must be at most 1"),
        ({"k_init": "half"}, ValueError, "k_init.* numeric"),
        ({"epochs": 0}, ValueError, "epochs.* must be at least 1"),
        ({"epochs": 2.5}, ValueError, "epochs.* must be an integer"),
        ({"method": "smot"}, ValueError, "method.* does not accept 'smot'"),
        ({"device": "tpu"}, ValueError, "device"),
    ],
)
def test_a_wrong_setting_is_refused_at_construction_and_on_assignment(settings, error, message):
    with pytest.raises(error, match=message):
        TrainingConfig(**settings)
    config = TrainingConfig()
    ((name, value),) = settings.items()
    before = config.to_dict()
    with pytest.raises(error, match=message):
        setattr(config, name, value)
    assert config.to_dict() == before


def test_bounds_in_the_wrong_order_are_named():
    with pytest.raises(ValueError, match=r"k_min=0\.9 is above k_max=0\.8"):
        TrainingConfig(k_min=0.9).check()


def test_equal_settings_are_equal_and_one_that_moves_makes_the_difference():
    one, two = TrainingConfig(alpha=3, seed=5), TrainingConfig(alpha=3.0, seed=5)
    assert one == two
    two.alpha = 4
    assert one != two
    assert one != one.to_dict()
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_numpys_numbers_become_plain_ones():
    config = TrainingConfig(
        alpha=np.float32(0.5), epochs=np.int64(3), signed=np.bool_(False), method=np.str_("sgt")
    )
    config.beta = np.float64(0.75)
    config.param.update(seed=np.int32(7))
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
    assert (config.alpha, config.epochs, config.signed, config.beta, config.seed) == (0.5, 3, False, 0.75, 7)
    with pytest.raises(ValueError, match="epochs.* must be an integer"):
        config.epochs = np.float64(2.5)


@pytest.mark.parametrize("name", ["fill", "k_rule"])
def test_a_name_that_nobody_has_registered_says_how_to(name):
    with pytest.raises(ValueError, match=rf"unknown {name} 'patient'.*register_{name}\(name, …\)"):
        TrainingConfig(**{name: "patient"})
    with pytest.raises(ValueError, match=rf"register_{name}"):
        setattr(TrainingConfig(), name, "patient")


def test_a_rule_of_k_without_smoot_is_refused():
    with pytest.raises(
        ValueError, match="k_rule='magnitude' moves k in method='smoot' alone, given method='sgt'"
    ):
        TrainingConfig(method="sgt", k_rule="magnitude").check()
