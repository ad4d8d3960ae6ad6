"""Long measurements of a model, which several pages may wait for."""

import threading

import pytest
from waiting import until
from workers import ThreadWorkers

from smoot_explore.engine.engine import Engine
from smoot_explore.engine.measurement import Measurement, MeasuringWork


@pytest.fixture
def begin():
    """Begins a measurement by a function of ``progress``; what is taken of it is kept with it."""
    engine = Engine(ThreadWorkers())

    def begin(measure):
        taken = []
        work = MeasuringWork(lambda model, split, progress: measure(progress), None, None)
        measurement = Measurement(engine, "masking curves", work, lambda *told: taken.append(told))
        measurement.taken = taken
        return measurement

    yield begin
    engine.close()


class Gate:
    """A measurement of two steps that waits before the first is told and after."""

    def __init__(self):
        self.begun, self.opened, self.told = threading.Event(), threading.Event(), []

    def __call__(self, progress):
        self.begun.set()
        progress(1, 2)
        assert self.opened.wait(30)
        progress(2, 2)
        self.told.append("the end")
        return "curves"


def test_a_measurement_tells_how_far_it_is_and_gives_its_result(begin):
    gate = Gate()
    measurement = begin(gate)
    until(lambda: measurement.share == 0.5)
    assert (measurement.done, measurement.taken) == (False, [])
    gate.opened.set()
    until(lambda: measurement.done)
    assert (measurement.share, measurement.problem) == (1.0, "")
    assert [told[:2] for told in measurement.taken] == [("curves", "")]


@pytest.mark.parametrize(
    ("error", "problem"), [(ValueError("no pixels"), "no pixels"), (MemoryError(), "MemoryError")]
)
def test_a_measurement_that_fails_says_why_for_good_and_the_next_one_is_made(begin, error, problem):
    def fail(progress):
        raise error

    bad, good = begin(fail), begin(lambda progress: "curves")
    until(lambda: good.done)
    assert (bad.problem, bad.taken) == (problem, [(None, problem, False)])
    assert (good.problem, good.taken[0][0]) == ("", "curves")


def test_a_measurement_goes_on_until_nobody_waits_and_cannot_be_joined_then(begin):
    gate = Gate()
    measurement = begin(gate)
    assert gate.begun.wait(30)
    assert measurement.join()
    measurement.cancel()
    measurement.cancel()
    assert not measurement.join()
    gate.opened.set()
    until(lambda: measurement.done)
    assert (measurement.problem, measurement.taken, gate.told) == ("", [], [])


def test_a_measurement_that_is_over_cannot_be_joined(begin):
    measurement = begin(lambda progress: "curves")
    until(lambda: measurement.done)
    assert not measurement.join()


def test_a_measurement_cancelled_while_it_waits_never_begins(begin):
    gate, begun = Gate(), []
    first, second = begin(gate), begin(lambda progress: begun.append(1))
    assert gate.begun.wait(30)
    second.cancel()
    assert (second.done, second.problem) == (True, "")
    second._engine._hands.submit(lambda: None).result(30)  # the workers have been told
    gate.opened.set()
    third = begin(lambda progress: None)
    until(lambda: first.done and third.done)
    assert begun == []
