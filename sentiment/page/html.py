"""The parts of a page: the document around it, tables, cards, matrices, quotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

_MOST_CELLS = 12  # classes of a matrix whose cells are written out


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Plain text.
    body : iterable of str
        HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>\n{_style()}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    *,
    texts: Sequence[int] = (),
    tall: bool = False,
) -> str:
    """Return a table of cells that are HTML already.

    Parameters
    ----------
    head : sequence of str
    rows : iterable of sequence of str
    numbers, texts : sequence of int
        Columns set right, and columns of running text.
    tall : bool
        Whether many rows scroll in place.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [
            " class=n" if place in numbers else " class=text" if place in texts else ""
            for place in range(len(cells))
        ]
        return "".join(
            f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )

    lines = "\n".join(f"<tr>{line(cells, 'td')}</tr>" for cells in rows)
    return (
        f'<div class="scroll{" tall" if tall else ""}"><table><thead><tr>{line(head, "th")}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def cards(figures: Mapping[str, str]) -> str:
    """Return the few figures that a page begins with.

    Parameters
    ----------
    figures : mapping of str to str
        Name to value, plain text.
    """
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><span class="soft">{escape(name)}</span><b>{escape(value)}</b></div>'
            for name, value in figures.items()
        )
        + "</div>"
    )


def matrix(
    counts: Sequence[Sequence[int]], names: Sequence[str], title: str = "Confusion matrix"
) -> str:
    """Return a confusion matrix: rows are true classes, columns are answers.

    Few classes have their counts and shares written out, many are shaded squares.

    Parameters
    ----------
    counts : sequence of sequence of int, shape (classes, classes)
    names : sequence of str
    title : str
        Plain text.
    """
    shares = [[cell / max(sum(row), 1) for cell in row] for row in counts]
    caption = (
        f"<figcaption>{escape(title)}</figcaption>"
        '<p class="key">rows: true class, columns: answer; shaded by the share of the true class</p>'
    )
    if len(names) > _MOST_CELLS:
        return f"<figure>{caption}{_squares(counts, shares, names)}</figure>"
    head = "".join(f'<th title="{escape(name)}">{escape(short(name))}</th>' for name in names)
    lines = []
    for place, name in enumerate(names):
        cells = "".join(
            f'<td style="{shade(shares[place][column], right=place == column)}">{cell:,}'
            f"<small>{shares[place][column]:.1%}</small></td>"
            for column, cell in enumerate(counts[place])
        )
        lines.append(f'<tr><th title="{escape(name)}">{escape(short(name))}</th>{cells}</tr>')
    return (
        f'<figure>{caption}<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>'
        f"{''.join(lines)}</table></div></figure>"
    )


def _squares(
    counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], names: Sequence[str]
) -> str:
    size = len(names)
    step = 340 / size
    marks = "".join(
        f'<rect x="{column * step:.2f}" y="{row * step:.2f}" width="{step:.2f}" height="{step:.2f}" '
        f'style="fill:var(--c{0 if row == column else 1});opacity:{0.15 + 0.85 * share:.2f}"><title>'
        f"{escape(names[row])} answered {escape(names[column])}: {counts[row][column]:,} ({share:.1%})"
        "</title></rect>"
        for row, line in enumerate(shares)
        for column, share in enumerate(line)
        if counts[row][column]
    )
    return (
        f'<svg viewBox="-1 -1 342 342" role="img" aria-label="Confusion of {size} classes">'
        f'<rect x="0" y="0" width="340" height="340" style="fill:var(--page)"/>{marks}</svg>'
        '<p class="key"><span><i style="background:var(--c0)"></i>right</span>'
        '<span><i style="background:var(--c1)"></i>wrong</span></p>'
    )


def shade(share: float, *, right: bool) -> str:
    """Return the style of a cell that is shaded by a share from 0 to 1."""
    colour = "var(--c0)" if right else "var(--c1)"
    return f"background:color-mix(in srgb, {colour} {min(max(share, 0), 1) * 70:.0f}%, transparent)"


def example(head: str, *texts: str) -> str:
    """Return one example: a line about it, and running texts that are HTML already."""
    said = "".join(f"<p>{text}</p>" for text in texts)
    return f'<div class="example"><p class="soft">{head}</p>{said}</div>'


def quote(text: str, most: int = 300) -> str:
    """Return the beginning of a text as HTML, its white space closed up."""
    plain = " ".join(text.split())
    return escape(plain[:most]) + ("…" if len(plain) > most else "")


def short(name: str, most: int = 24) -> str:
    """Return a name that fits a label, plain text."""
    plain = " ".join(name.split()) or "(blank)"
    if len(plain) <= most:
        return plain
    # Names that begin alike often end otherwise.
    return f"{plain[: (most - 1) * 2 // 3].rstrip()}…{plain[-((most - 1) // 3) :].lstrip()}"


def percent(value: float | None) -> str:
    """Return a share in percent, a dash for none."""
    return "–" if value is None else f"{value:.1%}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"
