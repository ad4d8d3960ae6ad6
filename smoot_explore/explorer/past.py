"""Why one image's k has moved so far, in words."""

from __future__ import annotations

import numpy as np
import xarray as xr

from smoot_explore.explorer.equation import signed
from smoot_explore.explorer.escape import escaped

_LAST = 6  # epochs whose moves are told one by one


def past_of_k(moves: xr.Dataset, image: str) -> str:
    """Why k of an image stands where it does, as HTML; empty where k does not move.

    Parameters
    ----------
    moves
        From `k_moves`.
    image
        Its name for people; escaped here.
    """
    n = moves.sizes["epoch"]
    if not n:
        return ""
    k, before, delta = moves.k.values, moves.before.values, moves.delta.values
    first, last = float(before[0]), float(k[-1])
    unit = moves.k.attrs.get("units", "pixels")
    by = k - before
    went = "stayed at" if abs(last - first) < 0.05 else "rose from" if last > first else "fell from"
    way = f"{first:.1f}" if went == "stayed at" else f"{first:.1f} to {last:.1f} {unit}"
    told = ", ".join(signed(float(one), 1) for one in by[-_LAST:])
    head = f"k of {escaped(image)} {went} {way} over {n} epoch{'s' if n > 1 else ''}: "
    if n > _LAST:
        head += f"{signed(float(by[:-_LAST].sum()), 1)} until epoch {moves.epoch.values[-_LAST - 1]}, then "
    words = [f"{head}{told}."]
    if np.isfinite(moves.step.values).all():
        up, down = int((delta > 0).sum()), int((delta < 0).sum())
        if up:
            words.append(
                f"In {_epochs(up)} Δ was above 0: masking its weakest {unit} raised the probability of its label and "
                "runners-up, as β weighs them, so k rose."
            )
        if down:
            words.append(f"In {_epochs(down)} Δ was below 0, so k fell.")
        words += _held(moves) + _alphas(moves)
    if "correct" in moves:
        words.append(f"It was recognised in {int(moves.correct.sum())} of {_epochs(n)}.")
    return f'<p style="margin:4px 0;font-size:13px;line-height:1.5">{" ".join(words)}</p>'


def _epochs(n: int) -> str:
    return f"{n} epoch{'s' if n > 1 else ''}"


def _held(moves: xr.Dataset) -> list[str]:
    n = int(moves.held.sum())
    return [f"In {_epochs(n)} a bound held it."] if n else []


def _alphas(moves: xr.Dataset) -> list[str]:
    """Which α was in force from which epoch on, where it was moved."""
    alphas, epochs = moves.alpha.values, moves.epoch.values
    turns = [i for i in range(1, len(alphas)) if alphas[i] != alphas[i - 1]]
    if not turns:
        return []
    ways = [f"α was {alphas[0]:g}", *(f"{alphas[i]:g} from epoch {epochs[i]}" for i in turns)]
    return [f"{', '.join(ways)}."]
