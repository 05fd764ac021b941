#!/usr/bin/env python3
"""Draws the plots of docs/CAPACITY.md: plots.py [DATA [PICTURES]]

Reads bench/sim/data/*.csv, which `sim_bench load|grow|loss|gateway` wrote, and writes SVG files
into docs/capacity/.
"""

import csv
import math
import pathlib
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 34, 46, 78
COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8e5ea2", "#b8860b", "#555555")


class Axis:
    """Values to pixels, by a logarithm or not, and where its ticks are."""

    def __init__(self, values, begin, end, log):
        self.log = log
        self.begin, self.end = begin, end
        if log:
            self.low = 10 ** math.floor(math.log10(min(values)))
            self.high = 10 ** math.ceil(math.log10(max(values)) - 1e-9)
        else:
            self.low, self.high = 0, max(values) * 1.08

    def at(self, value):
        scale = math.log10 if self.log else (lambda v: v)
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        if self.log:
            n = round(math.log10(self.high / self.low))
            return [self.low * 10 ** i for i in range(n + 1)]
        step = 10 ** math.floor(math.log10(self.high / 4))
        step = next(step * f for f in (1, 2, 2.5, 5, 10) if self.high / (step * f) <= 6)
        return [i * step for i in range(int(self.high / step + 1e-9) + 1)]


def text(x, y, words, anchor="middle", size=12, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {more}>'
            f"{escape(words)}</text>")


def number(value):
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def grid(x_axis, y_axis):
    for value in y_axis.ticks():
        y = y_axis.at(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield text(LEFT - 8, y + 4, number(value), "end")
    for value in x_axis.ticks():
        x = x_axis.at(value)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>'
        yield text(x, HEIGHT - BOTTOM + 18, number(value))


def legend(lines):
    x, y = LEFT, HEIGHT - 14
    for name, _, colour, dash in lines:
        yield (f'<line x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
               f'stroke-width="2" stroke-dasharray="{dash}"/>')
        yield text(x + 27, y, name, "start", 11)
        x += 40 + 6.2 * len(name)


def plot(path, title, x_name, y_name, lines, log_x=False, log_y=False):
    """`lines`: (name, [(x, y)], colour, dash pattern or "")."""
    points = [p for _, line, _, _ in lines for p in line]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, log_x)
    y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, log_y)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" fill="#222">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 24, title, "start", 14, 'font-weight="bold"'), *grid(x_axis, y_axis),
             text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38, x_name),
             text(0, 0, y_name, more=f'transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) '
                                     'rotate(-90)"')]
    for _, line, colour, dash in lines:
        at = [(x_axis.at(x), y_axis.at(y)) for x, y in line]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}" '
                     f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
    path.write_text("\n".join([*parts, *legend(lines), "</svg>"]) + "\n", encoding="utf-8")


def rows_of(data, name):
    with open(data / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, x, y):
    return [(float(r[x]), float(r[y])) for r in rows if float(r[y]) > 0]


def draw_load(data, pictures):
    rows = rows_of(data, "load")
    pairs = (("first token", "first_ms"), ("its p99", "first_p99_ms"), ("each token", "token_ms"))
    lines = []
    for (name, key), colour in zip(pairs, COLOURS):
        lines.append((name, column(rows, "share", key), colour, ""))
        lines.append(("computed", column(rows, "share", f"said_{key}"), colour, "5 4"))
    plot(pictures / "load.svg", "10 × H100, four shards: latency and load",
         "load, as a share of the most that it carries", "ms", lines, log_y=True)


def draw_grow(data, pictures):
    rows = rows_of(data, "grow")
    lines = []
    for gateways, colour in zip(("1", "3", "10"), COLOURS):
        those = [r for r in rows if r["gateways"] == gateways]
        name = f"{gateways} gateway{'s' * (gateways != '1')}"
        lines.append((name, column(those, "gpus", "first_ms"), colour, ""))
        lines.append(("p99", column(those, "gpus", "first_p99_ms"), colour, "2 3"))
    plot(pictures / "grow.svg", "First token as the cluster grows with its load", "GPUs", "ms",
         lines, log_x=True)


def draw_loss(data, pictures):
    rows = rows_of(data, "loss")
    lines = []
    for (name, key), colour in zip((("mean", "mean_ms"), ("longest", "most_ms")), COLOURS):
        lines.append((name, column(rows, "lost", key), colour, ""))
        lines.append(("computed", column(rows, "lost", f"said_{key}"), colour, "5 4"))
    plot(pictures / "loss.svg", f"Replicas of a shard lost, of {rows[0]['replicas']}: pauses",
         "replicas lost at once", "ms", lines)


def draw_gateway(data, pictures):
    rows = [r for r in rows_of(data, "gateway") if r["gateways"] == "1"]
    lines = [(f"{n} replicas", column([r for r in rows if r["replicas"] == n], "sequences",
                                      "token_ns"), colour, "")
             for n, colour in zip(("10", "100", "1000"), COLOURS)]
    plot(pictures / "gateway.svg", "What a token costs a gateway's core", "sequences that run",
         "ns of a CPU", lines, log_x=True)


def main():
    data = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "bench/sim/data"
    pictures = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs/capacity"
    pictures.mkdir(parents=True, exist_ok=True)
    for draw in (draw_load, draw_grow, draw_loss, draw_gateway):
        draw(data, pictures)


if __name__ == "__main__":
    main()
