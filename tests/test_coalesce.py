"""Answers for a control that moves faster than pictures can be made."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from smoot_explore.engine.coalesce import Coalescer


class Slider:
    """A control whose answers take until they are let go."""

    def __init__(self, executor):
        self.value, self.shown, self.computed = 0, [], []
        self.let_go = threading.Semaphore(0)
        self.latest = Coalescer(self.compute, self.shown.append, executor, lambda show: show())

    def compute(self):
        value = self.value
        self.computed.append(value)
        assert self.let_go.acquire(timeout=30)
        if value < 0:
            raise ValueError(f"no answer for {value}")
        return 10 * value

    def move(self, value):
        self.value = value
        self.latest.ask()


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def come(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


def test_questions_in_between_replace_each_other_and_the_newest_answer_is_the_last(executor):
    async def moves():
        slider = Slider(executor)
        slider.move(1)
        await come(lambda: slider.computed == [1])
        for value in range(2, 50):
            slider.move(value)
        slider.let_go.release(2)
        await come(lambda: len(slider.shown) == 2)
        assert slider.computed == [1, 49]
        assert slider.shown == [10, 490]
        slider.let_go.release()
        await asyncio.sleep(0.05)
        assert slider.shown == [10, 490]  # and nothing more comes
        slider.move(3)
        await come(lambda: len(slider.shown) == 3)
        assert slider.shown[-1] == 30

    asyncio.run(moves())


def test_an_error_is_shown_and_the_next_question_is_answered(executor):
    async def moves():
        slider = Slider(executor)
        slider.let_go.release(2)
        slider.move(-1)
        await come(lambda: slider.shown)
        assert isinstance(slider.shown[0], ValueError)
        assert str(slider.shown[0]) == "no answer for -1"
        slider.move(2)
        await come(lambda: len(slider.shown) == 2)
        assert slider.shown[1] == 20

    asyncio.run(moves())


def test_answers_are_shown_on_the_event_loop_and_computed_beside_it(executor):
    async def ask():
        threads, done = [], asyncio.Event()

        def show(answer):
            threads.append(threading.get_ident())
            done.set()

        latest = Coalescer(lambda: threads.append(threading.get_ident()), show, executor, lambda f: f())
        latest.ask()
        await asyncio.wait_for(done.wait(), 30)
        assert threads[1] == threading.get_ident() != threads[0]

    asyncio.run(ask())


def test_an_answer_for_a_page_that_is_gone_is_dropped(executor):
    sliders = []

    async def leave():
        sliders.append(Slider(executor))
        sliders[0].move(1)

    asyncio.run(leave())
    sliders[0].let_go.release()
    executor.submit(int).result(30)  # behind it in the queue
    assert sliders[0].computed == [1]
    assert sliders[0].shown == []


def test_without_an_event_loop_the_answer_is_waited_for(executor):
    shown, threads = [], []
    latest = Coalescer(
        lambda x: threads.append(threading.get_ident()) or 10 * x, shown.append, executor, lambda show: show()
    )
    latest.ask(1)
    latest.ask(2)
    assert shown == [10, 20]
    assert threading.get_ident() not in threads
