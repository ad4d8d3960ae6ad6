import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smoot_explore import update_k


def slow_update(k, clean, masked, label, alpha, beta, k_min, k_max, top_n):
    """Equations (1) to (4) for one image, in plain Python."""
    others = sorted((c for c in range(len(clean)) if c != label), key=lambda c: (-clean[c], c))
    label_change = masked[label] - clean[label]
    runners_up = sum(masked[c] - clean[c] for c in others[: top_n - 1])
    delta = beta * label_change + (1 - beta) * runners_up
    return min(max(k + alpha * delta, k_min), k_max), delta


@st.composite
def updates(draw):
    n, classes = draw(st.integers(1, 4)), draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))

    def probabilities():  # few distinct values, so that classes tie
        p = torch.randint(1, 4, (n, classes), generator=generator).double()
        return p / p.sum(1, keepdim=True)

    labels = torch.randint(0, classes, (n,), generator=generator)
    k = torch.rand(n, generator=generator, dtype=torch.float64) * 100
    return k, probabilities(), probabilities(), labels


@given(updates(), st.integers(1, 8), st.floats(0, 1), st.floats(0, 200))
def test_update_equals_the_equations_in_plain_python(update, top_n, beta, alpha):
    k, clean, masked, labels = update
    new_k, delta = update_k(k, clean, masked, labels, alpha=alpha, beta=beta, k_min=20, k_max=80, top_n=top_n)
    for n in range(len(k)):
        expected = slow_update(
            k[n].item(),
            clean[n].tolist(),
            masked[n].tolist(),
            labels[n].item(),
            alpha,
            beta,
            20,
            80,
            top_n,
        )
        assert (new_k[n].item(), delta[n].item()) == pytest.approx(expected, abs=1e-9)


@given(updates(), st.floats(0, 500))
def test_k_never_leaves_its_bounds(update, alpha):
    new_k, _ = update_k(*update, alpha=alpha, beta=0.8, k_min=30, k_max=40)
    assert ((new_k >= 30) & (new_k <= 40)).all()


def test_masking_that_raises_the_label_masks_more_next_time():
    clean, masked = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[0.7, 0.3], [0.3, 0.7]])
    k, _ = update_k(
        torch.tensor([50.0, 50.0]),
        clean,
        masked,
        torch.tensor([0, 0]),
        alpha=10,
        beta=0.95,
        k_min=0,
        k_max=100,
    )
    assert k[0] > 50 > k[1]


def test_beta_one_with_top_one_looks_at_the_label_alone():
    k, delta = update_k(
        torch.tensor([5.0]), torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[0.4, 0.1, 0.5]]),
        torch.tensor([0]), alpha=1, beta=1.0, k_min=0, k_max=9, top_n=1,
    )  # fmt: skip
    assert delta.item() == pytest.approx(0.2)
    assert k.item() == pytest.approx(5.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k_min": 9, "k_max": 3}, "k_min=9 is above k_max=3"),
        ({"k_min": torch.tensor(9.0), "k_max": torch.tensor(3.0)}, "k_min=9.0 is above k_max=3.0"),
        ({"top_n": 0}, "top_n must be at least 1, given 0"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"labels must have shape \(2,\)"),
        ({"masked_probabilities": torch.rand(2, 4)}, r"\(2, 3\) and \(2, 4\)"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {
        "k": torch.ones(2), "clean_probabilities": torch.rand(2, 3), "masked_probabilities": torch.rand(2, 3),
        "labels": torch.zeros(2, dtype=torch.int64), "alpha": 1, "beta": 0.5, "k_min": 0, "k_max": 9,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        update_k(**(arguments | changes))
