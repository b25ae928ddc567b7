"""How is one fault drawn? A small SVG: a bar a gateway, the bounds on it, retries beside it, the ceiling as a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ShareBar", "draw_shares"]

_WIDTH = 760
_LEFT, _RIGHT = 210, 120
_TOP, _ROW, _THICK, _THIN = 66, 34, 16, 5
_STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #59636e; font-size: 12px }
.other { fill: #8c959f } .ours { fill: #0969da } .again { fill: #bf8700 }
.range { stroke: #1f2328; stroke-width: 1.5 } .axis { stroke: #8c959f }
.ceiling { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .other { fill: #6e7681 } .ours { fill: #4493f8 } .again { fill: #d29922 }
  .range { stroke: #e6edf3 } .axis { stroke: #6e7681 } .ceiling { stroke: #f85149 }
}"""


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One gateway: percent exact, its bounds, percent with retries, the value in words, whether it is ours."""

    label: str
    percent: float
    low: float
    high: float
    retried_percent: float
    words: str
    is_ours: bool


def draw_shares(title: str, ceiling_percent: float, bars: Sequence[ShareBar]) -> str:
    """Draw a chart of shares, from none to all. More is better, and it says so."""
    height = _TOP + _ROW * len(bars) + 8
    line = _place(ceiling_percent)
    told = f"Streams that were exact, more is better; dashed: {ceiling_percent:.1f} %, the most without continuation"
    about = escape(f"{title}: answers that were exact, in percent", {'"': "&quot;"})
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{about}">',
            f"<style>\n{_STYLE}\n</style>",
            f'<text class="title" x="12" y="22">{escape(title)}</text>',
            f'<text class="quiet" x="12" y="42">{told}; thin: with two retries of the client</text>',
            *[_row(bar, _TOP + _ROW * number) for number, bar in enumerate(bars)],
            f'<line class="axis" x1="{_LEFT}" y1="{_TOP - 8}" x2="{_LEFT}" y2="{height - 8}"/>',
            f'<line class="ceiling" x1="{line:.1f}" y1="{_TOP - 8}" x2="{line:.1f}" y2="{height - 8}"/>',
            "</svg>\n",
        ]
    )


def _row(bar: ShareBar, top: int) -> str:
    middle = top + _THICK / 2
    under, again = top + _THICK + 2, _length(bar.retried_percent)
    kind = "ours" if bar.is_ours else "other"
    parts = [
        f'<text x="{_LEFT - 10}" y="{middle + 4.5:g}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" height="{_THICK}" rx="2" width="{_length(bar.percent):.1f}"/>',
        f'<rect class="again" x="{_LEFT}" y="{under}" height="{_THIN}" rx="2" width="{again:.1f}"/>',
        f'<line class="range" x1="{_place(bar.low):.1f}" y1="{middle:g}" x2="{_place(bar.high):.1f}" y2="{middle:g}"/>',
        f'<text x="{_place(100) + 8:.1f}" y="{middle + 4.5:g}">{escape(bar.words)}</text>',
    ]
    return "\n".join(parts)


def _length(percent: float) -> float:
    return max(0.0, min(100.0, percent)) / 100 * (_WIDTH - _LEFT - _RIGHT)


def _place(percent: float) -> float:
    return _LEFT + _length(percent)
