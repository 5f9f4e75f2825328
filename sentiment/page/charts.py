"""Charts as SVG: axes with readable ticks, colours that the colour-blind tell apart, light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from sentiment.page.html import short

_WIDTH, _HEIGHT = 360.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 12.0, 8.0, 34.0
_COLOURS = 6
_LONGEST = 28  # characters of a bar's name
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")

Point = tuple[float, float]
Series = Mapping[str, Sequence[Point]]


def figure(title: str, drawing: str, *, unit: str = "", keys: Sequence[str] = ()) -> str:
    """Return a chart with its title and what its colours mean.

    Parameters
    ----------
    title, unit : str
        Plain text.
    drawing : str
        HTML.
    keys : sequence of str
        Names of the colours, in order.
    """
    named = "".join(
        f'<span><i style="background:var(--c{place % _COLOURS})"></i>{escape(short(name, 40))}</span>'
        for place, name in enumerate(keys)
    )
    legend = f'<p class="key">{named}</p>' if named else ""
    soft = f' <span class="soft">{escape(unit)}</span>' if unit else ""
    return f"<figure><figcaption>{escape(title)}{soft}</figcaption>{legend}{drawing}</figure>"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two bounds, at most about `most`."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * scale >= rough * 0.999) * scale
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + place) * step, 12) for place in range(max(count, 1))]


def _word(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:g}"


def _anchor(place: float) -> str:
    """Return how a mark's word stands, so that none is cut at the right."""
    return "end" if place > _WIDTH - 16 else "middle"


class _Frame:
    """A pair of linear (or, across, logarithmic) axes."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, log: bool = False
    ) -> None:
        self.log = log and x[0] > 0
        self.x_low, self.x_high = x if x[1] > x[0] else (x[0] - 0.5, x[0] + 0.5)
        self.y_low, self.y_high = y if y[1] > y[0] else (y[0] - 0.5, y[0] + 0.5)

    def x(self, value: float) -> float:
        low, high = self.x_low, self.x_high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-12))
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_name: str, y_name: str, *, x_ticks: Sequence[float] | None = None) -> str:
        bottom, left = _HEIGHT - _BOTTOM, _LEFT
        parts = []
        for value in ticks(self.y_low, self.y_high):
            place = self.y(value)
            parts.append(
                f'<line class="rule" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>'
                f'<text x="{left - 5}" y="{place + 3.5:.1f}" text-anchor="end">{_word(value)}</text>'
            )
        marks = x_ticks if x_ticks is not None else ticks(self.x_low, self.x_high, 6)
        for value in marks:
            place = self.x(value)
            parts.append(
                f'<line class="axis" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom}" y2="{bottom + 3}"/>'
                f'<text x="{place:.1f}" y="{bottom + 14}" text-anchor="{_anchor(place)}">'
                f"{_word(value)}</text>"
            )
        parts.append(
            f'<line class="axis" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
            f'<text x="{(left + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 5}" text-anchor="middle">'
            f"{escape(x_name)}</text>"
            f'<text transform="translate(11 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_name)}</text>"
        )
        return "".join(parts)


def _svg(title: str, content: str, height: float = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{content}</svg>"
    )


def lines(
    title: str,
    series: Series,
    *,
    x_name: str,
    y_name: str,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    ideal: Sequence[Point] = (),
    bars: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    marks: bool = False,
    log: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Return curves over common axes.

    Parameters
    ----------
    title : str
    series : mapping of str to sequence of (x, y)
        At most six are told apart.
    x_name, y_name : str
    x, y : (low, high), optional
        Bounds of the axes; by default those of the points.
    ideal : sequence of (x, y)
        A line to compare with.
    bars : mapping of str to sequence of (x, low, high), optional
        Intervals, by series.
    marks : bool
        Whether points are marked.
    log : bool
        Whether x is on a logarithmic scale.
    x_ticks : sequence of float, optional
    """
    points = [point for own in series.values() for point in own]
    if not points:
        return figure(title, '<p class="soft">nothing to draw</p>')
    spans = [bar for own in (bars or {}).values() for bar in own]
    if x is None:
        x = (min(p[0] for p in points), max(p[0] for p in points))
    if y is None:
        y = (
            min([p[1] for p in points] + [low for _, low, _ in spans]),
            max([p[1] for p in points] + [high for _, _, high in spans]),
        )
    frame = _Frame(x, y, log=log)
    drawn = [frame.axes(x_name, y_name, x_ticks=x_ticks)]
    if ideal:
        path = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in ideal)
        drawn.append(f'<polyline class="ideal" points="{path}"/>')
    for place, (name, own) in enumerate(series.items()):
        colour = f"var(--c{place % _COLOURS})"
        for at, low, high in (bars or {}).get(name, ()):
            drawn.append(
                f'<line x1="{frame.x(at):.1f}" x2="{frame.x(at):.1f}" y1="{frame.y(low):.1f}" '
                f'y2="{frame.y(high):.1f}" style="stroke:{colour};stroke-width:1.5;opacity:.6"/>'
            )
        path = " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in thinned(own))
        dash = _DASHES[place % len(_DASHES)]
        drawn.append(
            f'<polyline class="line" points="{path}" style="stroke:{colour}'
            f'{";stroke-dasharray:" + dash if dash else ""}"/>'
        )
        if marks:
            drawn += [
                f'<circle cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3" style="fill:{colour}">'
                f"<title>{_word(a)}: {b:.4g}</title></circle>"
                for a, b in own
            ]
    keys = list(series) if len(series) > 1 else ()
    return figure(title, _svg(title, "".join(drawn)), keys=keys)


def scatter(
    title: str,
    points: Sequence[Point],
    *,
    x_name: str,
    y_name: str,
    x_ticks: Mapping[str, float],
    chosen: int,
) -> str:
    """Return points, one of which stands out.

    Parameters
    ----------
    title : str
    points : sequence of (x, y)
        At least one.
    x_name, y_name : str
    x_ticks : mapping of str to float
        Words along the axis, and where they stand.
    chosen : int
        Place of the point that stands out.
    """
    frame = _Frame(
        (min(p[0] for p in points), max(p[0] for p in points)),
        (min(p[1] for p in points), max(p[1] for p in points)),
    )
    drawn = [frame.axes(x_name, y_name, x_ticks=())]
    for word, value in x_ticks.items():
        place = frame.x(value)
        drawn.append(
            f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="{_anchor(place)}">'
            f"{escape(word)}</text>"
        )
    for number, (x, y) in sorted(enumerate(points), key=lambda one: one[0] == chosen):
        large = number == chosen
        drawn.append(
            f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{5 if large else 3.5}" '
            f'style="fill:var(--c{1 if large else 0});opacity:{1 if large else 0.7}">'
            f"<title>{y:.4g}</title></circle>"
        )
    return figure(title, _svg(title, "".join(drawn)))


def thinned(points: Sequence[Point], most: int = 160) -> list[Point]:
    """Return enough points of a curve to draw it, its ends among them."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(place * step)] for place in range(most)]


def histogram(
    title: str,
    edges: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    x_name: str,
    y_name: str = "share",
    stacked: bool = False,
    labels: Sequence[str] | None = None,
    unit: str = "",
) -> str:
    """Return bars over bins: the first series filled, others as outlines or stacked on it.

    Parameters
    ----------
    title : str
    edges : sequence of float
        One more than bins; drawn equally wide.
    series : mapping of str to sequence of float
        A value for each bin.
    x_name, y_name : str
    stacked : bool
    labels : sequence of str, optional
        What stands at the edges instead of their numbers.
    unit : str
        Stands beside the title.
    """
    n = len(edges) - 1
    columns = list(series.values())
    tops = (
        [sum(column[i] for column in columns) for i in range(n)]
        if stacked
        else [max(column[i] for column in columns) for i in range(n)]
    )
    frame = _Frame((0, n), (0, max(*tops, 1e-9) * 1.02 if tops else 1.0))
    step = max(1, -(-n // 6))
    drawn = [frame.axes(x_name, y_name, x_ticks=())]
    bottom = _HEIGHT - _BOTTOM
    for place in range(0, n + 1, step):
        word = labels[place] if labels is not None else _word(float(f"{edges[place]:.3g}"))
        anchor = "end" if place == n and len(word) > 3 else "middle"
        drawn.append(
            f'<text x="{frame.x(place):.1f}" y="{bottom + 14}" text-anchor="{anchor}">{escape(word)}</text>'
        )
    base = [0.0] * n
    for number, column in enumerate(columns):
        outline = number > 0 and not stacked
        for i, value in enumerate(column):
            if not value:
                continue
            low, high = frame.y(base[i]), frame.y(base[i] + value)
            style = (
                f"stroke:var(--c{number % _COLOURS})"
                if outline
                else f"fill:var(--c{number % _COLOURS});opacity:.85"
            )
            left, right = frame.x(i) + 0.5, frame.x(i + 1) - 0.5
            drawn.append(
                f'<rect{" class=outline" if outline else ""} x="{left:.1f}" y="{high:.1f}" '
                f'width="{max(right - left, 0.5):.1f}" height="{max(low - high, 0.4):.1f}" style="{style}"/>'
            )
            if stacked:
                base[i] += value
    keys = list(series) if len(series) > 1 else ()
    return figure(title, _svg(title, "".join(drawn)), keys=keys, unit=unit)


def bars(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    keys: Sequence[str],
    *,
    unit: str = "",
    form: str = ",.0f",
    intervals: Sequence[tuple[float, float] | None] | None = None,
    low: float = 0.0,
    mark: float | None = None,
) -> str:
    """Return horizontal bars, a group for each row.

    Parameters
    ----------
    title : str
    rows : sequence of (name, values)
        A value for each key.
    keys : sequence of str
        What the colours mean.
    unit : str
    form : str
        How values are written.
    intervals : sequence of (low, high) or None, optional
        Of each row's first value.
    low : float
        Where bars begin.
    mark : float, optional
        A line to compare with.
    """
    high = max([value for _, values in rows for value in values] + [low + 1e-9])
    if intervals:
        high = max([high, *(pair[1] for pair in intervals if pair)])
    longest = max([len(short(name, _LONGEST)) for name, _ in rows], default=0)
    left, right = 16.0 + 5.7 * longest, 44.0
    width = _WIDTH - left - right
    thick = 15.0 if len(keys) == 1 else 9.0
    tall = thick * len(keys) + 7
    drawn = []

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * width

    for place, (name, values) in enumerate(rows):
        top = 4 + place * tall
        drawn.append(
            f'<text class="ink" x="{left - 6}" y="{top + (tall - 7) / 2 + 4:.1f}" text-anchor="end">'
            f"{escape(short(name, _LONGEST))}<title>{escape(name)}</title></text>"
        )
        for number, value in enumerate(values):
            y = top + number * thick
            drawn.append(
                f'<rect x="{left}" y="{y:.1f}" width="{max(x(value) - left, 0.5):.1f}" '
                f'height="{thick - 1.5:.1f}" style="fill:var(--c{number % _COLOURS});opacity:.85"/>'
            )
            end = x(value)
            if number == 0 and intervals and (pair := intervals[place]):
                middle = y + thick / 2 - 0.7
                drawn.append(
                    f'<line class="whisker" x1="{x(pair[0]):.1f}" x2="{x(pair[1]):.1f}" '
                    f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
                )
                end = max(end, x(pair[1]))
            if thick > 10 or len(keys) <= 3:
                drawn.append(
                    f'<text x="{end + 4:.1f}" y="{y + thick - 3:.1f}" '
                    f'style="font-size:{"11" if thick > 10 else "9"}px">{value:{form}}</text>'
                )
    height = 8 + len(rows) * tall
    if mark is not None:
        drawn.append(
            f'<line class="ideal" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="0" y2="{height}"/>'
        )
    named = keys if len(keys) > 1 else ()
    return figure(title, _svg(title, "".join(drawn), height), unit=unit, keys=named)
