"""The equation card: why one image's k moves, with its numbers under the symbols of equations (3) and (4)."""

from __future__ import annotations

from smoot_explore.explorer.escape import escaped
from smoot_explore.explorer.state.move import KMove
from smoot_explore.views.palette import COLOURS, SERIES, text_colour

# As in the k-landscape: Δ₁ and Δ₂…ₙ have one colour everywhere.
_COLOURS = {"k": COLOURS["smoot"], "α": SERIES[7], "β": SERIES[5], "Δ₁": SERIES[1], "Δ₂…ₙ": SERIES[2]}
_VERDICTS = {
    "I": "<b>class I</b> (masking its strongest pixels only lowers its probability)",
    "II": "<b>class II</b> (masking some of its strongest pixels raises its probability)",
}
_BESIDE = "display:flex;flex-wrap:wrap;gap:0 32px"  # the equations: one line where there is room
_ROW = "display:flex;flex-wrap:wrap;align-items:center;gap:2px 7px;margin:0 0 4px;font-size:16px;line-height:1.25"
_TERM = "display:inline-flex;flex-direction:column;align-items:center"
_TOGETHER = "display:inline-flex;align-items:center;gap:5px;white-space:nowrap"
_NUMBER = "font-size:13px;font-variant-numeric:tabular-nums"


def equation_html(move: KMove | None) -> str:
    """The card as HTML; texts are escaped. The equations have their words for screen readers; nothing of no image."""
    if move is None:
        return ""
    head = f"{escaped(move.image)}, {_VERDICTS.get(move.image_class or '', 'not judged yet')}."
    if move.method == "traditional":
        return _card(head, [], "Traditional training masks nothing: there is no k to move.")
    return _card(head, _rows(move), f"{_what(move)} {_end(move)}")


def _card(head: str, rows: list[str], end: str) -> str:
    words = f'<p style="margin:0;font-size:13px;line-height:18px">{head} {end}</p>'
    return f"<div>{''.join(rows)}{words}</div>"


def _rows(move: KMove) -> list[str]:
    """Equation (4), or what stands in its place, and equation (3)."""
    k = f"{move.k:.1f}"
    next_k = "?" if move.next_k is None else f"{move.next_k:.1f}"
    bounds = f"{move.k_min:.0f} … {move.k_max:.0f}"
    delta = _term("Δ", signed(move.delta))
    if move.method == "sgt":
        moves = _row([_term("k", k), "stays"], f"k stays at {k}")
    elif move.rule != "smoot":
        rule = escaped(move.rule)
        parts = [_term("k", next_k), "←", f"{rule}(", _term("k", k), ",", delta, ", …)"]
        moves = _row(parts, f"k becomes {next_k} by the rule {rule}, from k {k} and Δ {signed(move.delta)}")
    else:
        alpha = f"{move.alpha:g}"
        parts = [
            _term("k", next_k), "←", "clip(", _term("k", k), "+", _term("α", alpha), "·", delta,
            f'<span style="{_TOGETHER}">,{_term("bounds", bounds)})</span>',
        ]  # fmt: skip
        spoken = f"k becomes {next_k}: {k} plus α {alpha} times Δ {signed(move.delta)}, between {bounds}"
        moves = _row(parts, spoken)
    beta, rest = f"{move.beta:.2f}", f"{1 - move.beta:.2f}"
    parts = [
        delta, "=", _term("β", beta), "·", _term("Δ₁", signed(move.first)), "+", _term("1−β", rest, "β"), "·",
        _term(_others(move), signed(move.others), "Δ₂…ₙ"),
    ]  # fmt: skip
    spoken = f"Δ {signed(move.delta)} is β {beta} times {signed(move.first)} plus {rest} times {signed(move.others)}"
    return [f'<div style="{_BESIDE}">{moves}{_row(parts, spoken)}</div>']


def _row(parts: list[str], spoken: str) -> str:
    return f'<div role="math" aria-label="{spoken}" style="{_ROW}">{"".join(_part(part) for part in parts)}</div>'


def _part(part: str) -> str:
    return part if part.startswith("<") else f"<span>{part}</span>"


def _term(symbol: str, number: str, of: str | None = None) -> str:
    """A symbol above its number, in its colour or in that of another symbol."""
    known = _COLOURS.get(of or symbol)
    colour = "" if known is None else f"color:{text_colour(known)};"
    return f'<span style="{colour}{_TERM}"><i>{symbol}</i><b style="{_NUMBER}">{number}</b></span>'


def _others(move: KMove) -> str:
    return "Δ₂…ₙ" if move.n < 2 else f"Δ₂…{'₀₁₂₃₄₅₆₇₈₉'[move.n] if move.n < 10 else 'ₙ'}"


def _what(move: KMove) -> str:
    others = f"that of the runners-up by {_others(move)} = {signed(move.others)}"
    if move.n < 2:
        others = "runners-up do not count"
    return (
        f"Without the {move.k:.0f} {move.unit} of lowest saliency the probability of {escaped(move.followed)} changes "
        f"by Δ₁ = {signed(move.first)}, {others}."
    )


def _end(move: KMove) -> str:
    if move.method == "sgt":
        return "SGT keeps the same k for all images."
    if move.next_k is None:
        return f"k is moved by the rule {escaped(move.rule)}, which is not known here."
    moved = move.next_k - move.k
    by, says = move.step, "α·Δ"
    if move.rule != "smoot":
        by, says = moved, f"the rule {escaped(move.rule)}"
    if abs(by) < 0.005:
        what = "so k stays."
    elif by > 0:
        what = "so <b>more is masked</b> next time."
    else:
        what = "so <b>less is masked</b> next time."
    end = f"k moves by <b>{says} = {signed(by, 2)} {move.unit}</b> a visit, {what}"
    if move.rule == "magnitude":
        return f"{end} This rule uses neither α and β nor the bounds."
    if move.held:
        end += f" Its bounds ({move.k_min:.0f} to {move.k_max:.0f} {move.unit}) hold it at {move.next_k:.0f}."
    return end


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign, the minus as long as the plus.

    Examples
    --------
    >>> signed(0.325), signed(-2.0, 1), signed(-0.01, 1)
    ('+0.325', '−2.0', '+0.0')
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")  # no −0
