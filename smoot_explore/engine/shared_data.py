"""Data sets for all that goes on in a process: each is loaded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any

from smoot_explore.data.images import ImageData
from smoot_explore.data.load import load_data

_data: OrderedDict[tuple, Future[ImageData]] = OrderedDict()
_lock = threading.Lock()
_KEPT = 4


def shared_data(*source: Any, **options: Any) -> ImageData:
    """`load_data`, with the last few data sets kept for all, who only read them."""
    key = (*source, *sorted(options.items()))
    with _lock:
        loading, mine = _data.get(key), key not in _data
        if loading is None:
            loading = _data[key] = Future()
        _data.move_to_end(key)
        while len(_data) > _KEPT:
            _data.popitem(last=False)
    if mine:  # outside the lock: others may want other data meanwhile
        try:
            loading.set_result(load_data(*source, **options))
        except BaseException as error:
            with _lock:
                _data.pop(key, None)
            loading.set_exception(error)
    return loading.result()
