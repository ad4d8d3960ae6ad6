"""A button for a file that is made when it is asked for, beside the page."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import panel_material_ui as pmui

from smoot_explore.errors import reason


def download(
    label: str,
    filename: str,
    prepare: Callable[[], Callable[[], bytes | Callable[[], bytes]]],
    executor: Executor,
    schedule: Callable[[Callable[[], None]], object],
    complain: Callable[[str], None],
) -> Any:
    """A button that downloads a file.

    Parameters
    ----------
    prepare
        Called on the page; what it returns makes the file's content, in the background, from what the page showed.
        Instead of the content it may give a function that makes it on the page: HoloViews draws in one thread only.
    executor
        Where the file is made.
    """

    async def content() -> io.BytesIO:
        try:
            made = await asyncio.get_running_loop().run_in_executor(executor, prepare())
            return io.BytesIO(made() if callable(made) else made)
        except Exception as error:
            told = reason(error)
            schedule(lambda: complain(told))
            raise  # there is no file: Panel notes the error for the operator

    return pmui.FileDownload(
        label=label,
        filename=filename,
        callback=content,
        size="small",
        variant="outlined",
        margin=(8, 8),
        auto=True,
    )
