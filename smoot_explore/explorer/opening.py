"""Opening what a visitor chooses to look at, beside the page: data and weights may take long to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smoot_explore.data.images import Split
from smoot_explore.engine.background import EPOCHS, OPENING
from smoot_explore.engine.coalesce import Coalescer
from smoot_explore.errors import reason
from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.opened_runs import OpenedRun
from smoot_explore.explorer.state.image import predicted
from smoot_explore.explorer.state.session import SessionState


class Opening:
    """Opens the chosen run and the compared ones; the newest choice wins, and what is shown stays until then.

    Parameters
    ----------
    say
        Called with what it is about, "run" or "compared", and what goes on: nothing when it is over.
    run_opened, compared_opened
        Called when the state looks at the chosen run, and at the compared ones.
    """

    def __init__(
        self,
        state: SessionState,
        schedule: Callable[[Callable[[], None]], object],
        say: Callable[[str, str], None],
        complain: Callable[[str], None],
        run_opened: Callable[[], None],
        compared_opened: Callable[[], None],
    ) -> None:
        self._state, self._say, self._complain = state, say, complain
        self._run_opened, self._compared_opened = run_opened, compared_opened
        self._one = Coalescer(self._open, self._show, OPENING, schedule)
        self._epoch = Coalescer(self._load, self._show_epoch, EPOCHS, schedule)
        self._several = Coalescer(self._open_all, self._show_compared, OPENING, schedule)
        self._key = ""  # of the run that was asked for last, and what needs it
        self._then: Callable[[], None] | None = None

    def open_run(self, then: Callable[[], None] | None = None) -> None:
        """Open the run that is chosen now, and ``then`` do what needs it."""
        key = self._state.run_key
        if then is not None or key != self._key:  # asked again for the same run, what needs it still does
            self._key, self._then = key, then
        self._say("run", f"Opening {escaped(self._state.catalogue.label_of(key))} …")
        self._one.ask(key, self._state.epoch, self._state.image.upload)

    def open_epoch(self) -> None:
        """Look at the run shown as it was after the epoch that is chosen now."""
        state, shown = self._state, self._state.image.opened
        if shown is not None and shown.key == state.run_key and shown.epoch != state.epoch_shown:
            self._epoch.ask(shown, state.epoch_shown, state.image.upload)

    def open_compared(self) -> None:
        """Open the runs that are compared now."""
        keys = list(self._state.compared)
        labels = ", ".join(map(self._state.catalogue.label_of, keys))
        self._say("compared", f"Opening {escaped(labels)} …")
        self._several.ask(keys)

    def _open(
        self, key: str, epoch: int | None, upload: Split | None
    ) -> tuple[str, Split | None, Any, Split | None]:
        """Beside the page: the run, or why it cannot be opened, and the own picture as it predicts it."""
        try:
            opened = self._state.catalogue.open(key)
            if epoch in opened.epochs:
                opened = opened.at(epoch)
            return key, upload, opened, _foreseen(upload, opened)
        except Exception as error:  # whatever it is: told below, if this is still the run that is chosen
            return key, upload, error, None

    def _load(self, shown: OpenedRun, epoch: int, upload: Split | None) -> Any:
        """Beside the page: the run at an epoch, or why it cannot be, and the own picture as it predicts it."""
        try:
            opened = shown.at(epoch)
            return shown, epoch, upload, opened, _foreseen(upload, opened)
        except Exception as error:  # as above
            return shown, epoch, upload, error, None

    def _show_epoch(self, answer: Any) -> None:
        shown: OpenedRun
        shown, epoch, upload, opened, foreseen = answer
        state, now = self._state, self._state.image
        other_run = now.opened is not shown or shown.key != state.run_key
        if other_run or epoch != state.epoch_shown or upload is not now.upload:
            self.open_epoch()
        elif isinstance(opened, OpenedRun):
            state.show(opened, foreseen)
            self._run_opened()
            if later := [one for one in opened.epochs if one > epoch][:1]:
                EPOCHS.submit(opened.at, later[0])  # maybe it is played
        else:
            self._complain(reason(opened))
            state.epoch_shown = shown.epoch

    def _show(self, answer: Any) -> None:
        key, upload, opened, foreseen = answer
        state = self._state
        if key != state.run_key:  # another one was chosen meanwhile, and is being opened
            return
        if upload is not state.image.upload:  # so was another picture
            self._one.ask(key, state.epoch, state.image.upload)
            return
        self._say("run", "")
        if isinstance(opened, OpenedRun):
            state.show(opened, foreseen)
            if state.epoch is not None and state.epoch not in opened.epochs:
                self._complain(_others_kept(opened, state.epoch))
                state.epoch = None
            self.open_epoch()  # another one was chosen meanwhile
            then, self._then = self._then, None
            self._run_opened()
            if then is not None:
                then()
            return
        self._then = None
        self._complain(reason(opened))
        shown = state.image.opened
        if shown is not None and shown.key in state.catalogue.labels:  # the tabs still show this one
            state.run_key = shown.key

    def _open_all(self, keys: list[str]) -> tuple[list[str], list[OpenedRun], list[str]]:
        return keys, *self._state.catalogue.open_all(keys)

    def _show_compared(self, answer: Any) -> None:
        if isinstance(answer, BaseException):
            self._say("compared", "")
            self._complain(reason(answer))
            return
        keys, opened_runs, complaints = answer
        if keys != list(self._state.compared):  # others were chosen meanwhile, and are being opened
            return
        self._say("compared", "")
        self._state.compare.show(opened_runs)
        self._complain(" ".join(complaints))
        self._compared_opened()


def _foreseen(upload: Split | None, opened: OpenedRun) -> Split | None:
    """The own picture as a run predicts it, where it can."""
    fits = upload is not None and upload.image_shape == opened.data.image_shape
    return predicted(upload.images, opened) if upload is not None and fits else None


def _others_kept(opened: OpenedRun, epoch: int) -> str:
    kept = opened.epochs
    told = f"epoch {kept[0]} alone" if len(kept) == 1 else f"epochs {', '.join(map(str, kept))}"
    return (
        f"{opened.label} holds no weights of epoch {epoch}, but of {told}; those of epoch {opened.epoch} are "
        "shown."
    )
