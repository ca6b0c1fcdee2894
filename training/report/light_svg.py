"""SVG documents as Matplotlib writes them, with the same drawing in a third of the bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# A hundredth of a point is a twelfth of a pixel at 600 dpi.
UNIT = 100
# Matplotlib's measurements of text hold for DejaVu Sans; Verdana, which offices have, is as wide.
FONT_FAMILY = "'DejaVu Sans',Verdana,'Bitstream Vera Sans',sans-serif"
# Matplotlib sets both on every element through a style sheet, which would reach beyond the drawing once it is part of a page.
ROOT_STYLE = f"font-family:{FONT_FAMILY};stroke-linejoin:round;stroke-linecap:butt"

_TOKEN = re.compile(r"[MLCQz]|-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
_NUMBER = re.compile(r"-?(?:\d+\.\d*|\.\d+|\d+)(?:e[-+]?\d+)?")
_UNTURNED = re.compile(r"^rotate\(-?0(?:\.0*)? [^)]*\)$")
_REFERENCE = re.compile(r"#([^)\"']+)")
_ARGUMENTS = {"L": 2, "Q": 4, "C": 6}
_COORDINATES = ("x", "y", "width", "height")
_GROUP, _PATH, _USE, _DEFS = (f"{{{SVG}}}{name}" for name in ("g", "path", "use", "defs"))
_HREF = f"{{{XLINK}}}href"
# A circle about 0 as Matplotlib draws it, in eight arcs: its radius, hundredths of a point.
_CIRCLE = re.compile(r"^M0 (\d*\.?\d+)c(?=[^a-zA-Z]*z$)")
# Fewer equal markers in a row are left as they are.
_FEWEST_MARKERS = 4


def lighten(document: str) -> str:
    """Return the same drawing with coordinates to a hundredth of a point and without what nobody refers to.

    Parameters
    ----------
    document
        SVG as written by Matplotlib; coordinates in points.
    """
    for prefix, space in (("", SVG), ("xlink", XLINK)):
        ET.register_namespace(prefix, space)
    root = ET.fromstring(document)  # noqa: S314 - Matplotlib's own output, not a file from outside
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    names = _new_names(root)
    for element in root.iter():
        _lighten_element(element, names)
    _unwrap(root)
    _join_groups(root)
    _join_markers(root)
    root.set("style", ROOT_STYLE)
    return ET.tostring(root, encoding="unicode") + "\n"


def compact_path(data: str) -> str:
    """Return path data in relative coordinates, rounded so that no error adds up along the path.

    Parameters
    ----------
    data
        Absolute commands ``M``, ``L``, ``Q``, ``C`` and ``z``.
    """
    pieces: list[str] = []
    last = ""
    for command, numbers in _relative(data):
        text = ""
        for place, number in enumerate(numbers):
            printed = _printed(number)
            joined = printed.startswith("-") or (place == 0 and command != last)
            text += printed if joined else f" {printed}"
        pieces.append(text if command == last and command != "z" else command + text)
        # What follows a move is a line, but an absolute one.
        last = "" if command in "Mz" else command
    return "".join(pieces)


def _relative(data: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    tokens = iter(_TOKEN.findall(data))
    x = y = start_x = start_y = 0
    drawn = True
    command = ""
    for word in tokens:
        if word == "z":
            x, y = start_x, start_y
            yield "z", ()
            continue
        if word.isalpha():
            command, word = word, next(tokens)
        if command == "M":
            x, y = start_x, start_y = _hundredths(word), _hundredths(next(tokens))
            drawn = False
            yield "M", (x, y)
            continue
        absolute = [_hundredths(word), *(_hundredths(next(tokens)) for _ in range(_ARGUMENTS[command] - 1))]
        steps = tuple(value - (y if place % 2 else x) for place, value in enumerate(absolute))
        x, y = absolute[-2:]
        if command != "L":
            yield command.lower(), steps
        elif steps[1] == 0 and (steps[0] or not drawn):
            # The first step may be none: a line of no length is a dot.
            yield "h", steps[:1]
        elif steps[0] == 0 and steps[1]:
            yield "v", steps[1:]
        elif steps != (0, 0):
            yield "l", steps
        drawn = True


def _hundredths(text: str) -> int:
    return round(UNIT * float(text))


def _printed(hundredths: int) -> str:
    return _plain(hundredths / UNIT, 2)


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"
    text = re.sub(r"^(-?)0\.", r"\1.", text)
    return "0" if text in ("", "-", "-0") else text


def _new_names(root: ET.Element) -> dict[str, str]:
    """Return short identifiers for those that something refers to, in the order of the document."""
    used = {
        found
        for element in root.iter()
        for name, value in element.attrib.items()
        if name == _HREF or "url(#" in value
        for found in _REFERENCE.findall(value)
    }
    named = [element.get("id") for element in root.iter() if element.get("id") in used]
    return {name: f"i{number}" for number, name in enumerate(dict.fromkeys(n for n in named if n is not None))}


def _lighten_element(element: ET.Element, names: dict[str, str]) -> None:
    if element.tag not in (f"{{{SVG}}}text", f"{{{SVG}}}tspan"):
        element.text = None
    element.tail = None if not (element.tail or "").strip() else element.tail
    for name, value in list(element.attrib.items()):
        if name == "id":
            new = names.get(value, "")
        elif name == "d":
            new = compact_path(value)
        elif name == "style":
            new = _style(value)
        elif name == "transform":
            # Scales need more digits than places do.
            new = "" if _UNTURNED.match(value) else _rounded(value, 5)
        elif name in _COORDINATES and not value.endswith("pt"):
            new = _rounded(value, 2)
        else:
            new = value
        if name == _HREF and value.startswith("#"):
            new = f"#{names[value[1:]]}"
        elif "url(#" in new:
            new = _REFERENCE.sub(lambda found: f"#{names[found.group(1)]}", new)
        if new:
            element.set(name, new)
        else:
            del element.attrib[name]


def _style(text: str) -> str:
    """Return declarations without blanks and without the font of the whole drawing."""
    kept = []
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name and name != "font-family":
            kept.append(f"{name}:{value if '#' in value else _rounded(value, 2)}")
    return ";".join(kept)


def _rounded(text: str, decimals: int) -> str:
    return _NUMBER.sub(lambda found: _plain(float(found.group()), decimals), text)


def _unwrap(root: ET.Element) -> None:
    """Replace groups that say nothing by what they hold."""

    def flattened(element: ET.Element) -> Iterator[ET.Element]:
        for child in list(element):
            if child.tag == _GROUP and not child.attrib:
                yield from flattened(child)
            else:
                child[:] = list(flattened(child))
                yield child

    root[:] = list(flattened(root))


def _join_groups(root: ET.Element) -> None:
    """Put what is clipped alike and stands together into one group."""
    for parent in root.iter():
        joined: list[ET.Element] = []
        for child in parent:
            if joined and child.tag == _GROUP == joined[-1].tag and child.attrib == joined[-1].attrib:
                joined[-1].extend(child)
            else:
                joined.append(child)
        parent[:] = joined


def _join_markers(root: ET.Element) -> None:
    """Draw runs of equal closed markers as one path: a dot then costs a dozen bytes."""
    shapes = {
        f"#{path.get('id')}": path.get("d", "")
        for defs in root.iter(_DEFS)
        for path in defs
        if path.tag == _PATH and "style" not in path.attrib and path.get("d", "").endswith("z")
    }
    for parent in list(root.iter()):
        children: list[ET.Element] = []
        for look, run in groupby(parent, _marker_look):
            members = list(run)
            shape = None if look is None else shapes.get(look[0])
            if look is None or not shape or len(members) < _FEWEST_MARKERS:
                children.extend(members)
            else:
                children.append(_joined(shape, look[1], [(m.get("x", "0"), m.get("y", "0")) for m in members]))
        parent[:] = children
    used = {use.get(_HREF) for use in root.iter(_USE)}
    for defs in root.iter(_DEFS):
        defs[:] = [child for child in defs if f"#{child.get('id')}" not in shapes or f"#{child.get('id')}" in used]


def _marker_look(element: ET.Element) -> tuple[str, str] | None:
    """Return shape and style of a marker; nothing for other elements, or where more is said of it."""
    if element.tag != _USE or set(element.attrib) != {_HREF, "x", "y", "style"}:
        return None
    return element.attrib[_HREF], element.attrib["style"]


def _joined(shape: str, style: str, places: Sequence[tuple[str, str]]) -> ET.Element:
    circle = _CIRCLE.match(shape) if "stroke" not in style else None
    start_x, start_y = (_hundredths(v) for v in _NUMBER.findall(shape)[:2])
    if circle is not None:
        # A line of no length with round ends is a disk.
        start_x, start_y, rest = 0, 0, "h0"
        style = f"{style.replace('fill', 'stroke')};stroke-width:{_plain(2 * float(circle.group(1)), 2)};stroke-linecap:round"
    else:
        rest = re.sub(r"^M[^a-zA-Z]*", "", shape)
    data, x, y = "", 0, 0
    for place in places:
        new_x, new_y = start_x + _hundredths(place[0]), start_y + _hundredths(place[1])
        # A closed shape ends where it began.
        step = _pair(new_x - x, new_y - y) if data else _pair(new_x, new_y)
        data += f"{'m' if data else 'M'}{step}{rest}"
        x, y = new_x, new_y
    return ET.Element(_PATH, {"d": data, "style": style})


def _pair(first: int, second: int) -> str:
    texts = _printed(first), _printed(second)
    return f"{texts[0]}{'' if texts[1].startswith('-') else ' '}{texts[1]}"
