"""How is a work drawn? One small SVG of bars: medians, what the rounds lie between, readable in light and in dark."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BarOf", "draw"]

_WIDTH = 760
_LEFT, _RIGHT = 250, 130
_TOP, _ROW, _THICK = 44, 30, 16
_CLIP = 6.0
"""A bar longer than so many times the middle one is cut, with an arrow: it would make the others too short to read."""

_STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #59636e; font-size: 12px }
.other { fill: #8c959f } .ours { fill: #0969da }
.range { stroke: #1f2328; stroke-width: 1.5 } .axis { stroke: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet { fill: #9198a1 }
  .other { fill: #6e7681 } .ours { fill: #4493f8 }
  .range { stroke: #e6edf3 } .axis { stroke: #6e7681 }
}"""


@dataclass(frozen=True, slots=True)
class BarOf:
    """One bar: whose, the median, what the rounds lie between, whether it is ours, and the value in words."""

    label: str
    value: float
    least: float
    most: float
    is_ours: bool
    words: str


def draw(title: str, unit: str, bars: Sequence[BarOf]) -> str:
    """Draw a chart. Smaller is better in all of them, and it says so."""
    longest = _scale_end(bars)
    height = _TOP + _ROW * len(bars) + 14
    rows = [_row(bar, _TOP + _ROW * number, longest) for number, bar in enumerate(bars)]
    label = escape(f"{title}: {unit}", {'"': "&quot;"})
    about = f'role="img" aria-label="{label}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {about}>',
            f"<style>\n{_STYLE}\n</style>",
            f'<text class="title" x="12" y="22">{escape(title)}</text>',
            f'<text class="quiet" x="{_WIDTH - 12}" y="22" text-anchor="end">{escape(unit)}, less is better</text>',
            *rows,
            f'<line class="axis" x1="{_LEFT}" y1="{_TOP - 6}" x2="{_LEFT}" y2="{height - 10}"/>',
            "</svg>\n",
        ]
    )


def _scale_end(bars: Sequence[BarOf]) -> float:
    """The value at the right edge."""
    most = _CLIP * max(median([bar.value for bar in bars]), 1e-9)
    return max([1e-9, *(bar.most for bar in bars if bar.most <= most)])


def _row(bar: BarOf, top: int, longest: float) -> str:
    is_cut = bar.value > longest
    middle = top + _THICK / 2
    kind, width = "ours" if bar.is_ours else "other", _length(bar.value, longest)
    parts = [
        f'<text x="{_LEFT - 10}" y="{middle + 4.5:g}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" height="{_THICK}" rx="2" width="{width:.1f}"/>',
    ]
    end = _LEFT + (width if is_cut else _length(bar.most, longest))
    if not is_cut and bar.least < bar.most:
        start = _LEFT + _length(bar.least, longest)
        parts.append(f'<line class="range" x1="{start:.1f}" y1="{middle:g}" x2="{end:.1f}" y2="{middle:g}"/>')
    words = f"→ {bar.words}" if is_cut else bar.words
    parts.append(f'<text x="{end + 8:.1f}" y="{middle + 4.5:g}">{escape(words)}</text>')
    return "\n".join(parts)


def _length(value: float, longest: float) -> float:
    """A bar's length in the picture; nothing is shorter than nothing, nor longer than there is room."""
    return max(0.0, min(value, longest) / longest) * (_WIDTH - _LEFT - _RIGHT)
