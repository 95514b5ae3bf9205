#!/usr/bin/python3
"""Fails when a word of an SVG picture leaves its box.

    scripts/check_svg.py FILE.svg...

Each `<text>` belongs to the smallest `<rect>` that holds its starting point, and must end MARGIN before that one's right
side. Widths are those of DejaVu Sans, which a bare Debian machine draws with (packages python3-pil, fonts-dejavu-core).
Classes of the picture's own `<style>` decide size and weight. Transforms and nested text are not understood.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from PIL import ImageFont

FONTS = "/usr/share/fonts/truetype/dejavu"
MARGIN = 4.0
SCALE = 20  # widths are measured on large letters, free of hinting


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    def holds(self, x: float, y: float) -> bool:
        return self.x <= x <= self.x + self.width and self.y <= y <= self.y + self.height


def class_styles(root: ElementTree.Element) -> dict[str, str]:
    sheets = "".join(node.text or "" for node in root.iter() if node.tag.endswith("style"))
    return dict(re.findall(r"\.([\w-]+)\s*\{([^}]*)\}", sheets))


def text_width(words: str, size: float, bold: bool) -> float:
    font = ImageFont.truetype(f"{FONTS}/DejaVuSans{'-Bold' if bold else ''}.ttf", round(size * SCALE))
    return font.getlength(words) / SCALE


def escapes(path: str) -> list[str]:
    root = ElementTree.parse(path).getroot()
    styles = class_styles(root)
    default = float(root.get("font-size", "16"))
    boxes = [Box(*(float(node.get(name, "0")) for name in ("x", "y", "width", "height")))
             for node in root.iter() if node.tag.endswith("rect")]
    found = []
    for node in (node for node in root.iter() if node.tag.endswith("text")):
        style = " ".join(styles.get(name, "") for name in node.get("class", "").split())
        size = re.search(r"font-size:\s*([\d.]+)px", style)  # without a unit it counts for nothing
        bold = re.search(r"font-weight:\s*(?:bold|[6-9]00)", style) is not None
        words, x, y = node.text or "", float(node.get("x", "0")), float(node.get("y", "0"))
        around = [box for box in boxes if box.holds(x, y)]
        if not around:
            found.append(f"{path}: '{words}' begins outside every box")
            continue
        box = min(around, key=lambda box: box.width * box.height)
        over = x + text_width(words, float(size[1]) if size else default, bold) + MARGIN - (box.x + box.width)
        if over > 0:
            found.append(f"{path}: '{words}' is {over:.0f} too wide for its box")
    return found


def main() -> int:
    found = [problem for path in sys.argv[1:] for problem in escapes(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
