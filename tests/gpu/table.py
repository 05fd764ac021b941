"""The table of a measurement: of each row its figure, what is wanted of it and whether it is. What
could not be measured says so and why; nothing stands in its place.
"""

import dataclasses

NOT_MEASURED = "NOT MEASURED"
# Rows that nothing here can measure yet.
NO_FAST_MODE = "the backend cuda has one mode, which is exact for every batch; there is no fast one"
NO_HOP = "needs the services and CUDA IPC between processes, which there is not yet"


@dataclasses.dataclass
class Line:
    name: str
    figure: str = ""
    wanted: str = ""
    share: str = ""
    verdict: str = NOT_MEASURED  # met, missed, right, WRONG, reported
    why: str = ""                # it was not measured


class Results:
    """Figures by the names of rows; an error is no figure."""

    def __init__(self, results):
        self._results = results

    def get(self, *names):
        """The figures of these rows. KeyError(why) where one has none."""
        found = []
        for name in names:
            figures = self._results.get(name, {"error": "was not run"})
            if "error" in figures:
                raise KeyError(figures["error"] if name == names[-1]
                               else f"needs {name}: {figures['error']}")
            found.append(figures)
        return found if len(found) > 1 else found[0]


def _share(name, figure, share, least, stretch=None):
    wanted = f">= {least:.0%}" + (f", stretch {stretch:.0%}" if stretch else "")
    return Line(name, figure, wanted, f"{share:.1%}", "met" if share >= least else "missed")


def _right(name, figures):
    wrong = figures["wrong"]
    line = Line(name, f"{figures['compared'] - len(wrong)} of {figures['compared']}", "all")
    line.verdict = "right" if not wrong and figures["compared"] > 0 else "WRONG"
    line.why = "; ".join(wrong[:5])
    return line


def _decode(name, results, row, least, stretch=None):
    copy, step = results.get("copy", row)
    share = step["bytes"] / copy["bytes_per_s"] / step["seconds"]
    figure = f"{step['seconds'] * 1e3:.3f} ms, {step['streams'] / step['seconds']:.0f} tok/s"
    return _share(name, figure, share, least, stretch)


def _llama(name, results, gpu):
    step = results.get("llama-1b bf16 decode 1")
    figure, limits = f"{step['seconds'] * 1e6:.0f} us", {"H100": 973, "H200": 760}
    for kind, limit in limits.items():
        if kind in gpu:
            share = limit / (step["seconds"] * 1e6)
            return Line(name, figure, f"<= {limit} us", f"{share:.1%}",
                        "met" if share >= 1 else "missed")
    return Line(name, figure, "no limit for this GPU", verdict="reported")


def _ratio(name, results, slower, faster, least, what):
    slow, fast = results.get(slower, faster)
    ratio = slow["seconds"] / fast["seconds"]
    return Line(name, f"{fast['seconds'] * 1e3:.3f} ms", f">= {least} x {what}", f"{ratio:.2f} x",
                "met" if ratio >= least else "missed")


def _peer(name, results):
    ours, theirs = results.get("phi3 bf16 decode 1", "transformers")
    if not theirs.get("compiled"):
        raise KeyError("without torch.compile it is no comparison: "
                       f"{theirs['seconds'] * 1e3:.3f} ms a step so")
    ratio = theirs["seconds"] / ours["seconds"]
    return Line(name, f"theirs {theirs['seconds'] * 1e3:.3f} ms", ">= 1.3 x", f"{ratio:.2f} x",
                "met" if ratio >= 1.3 else "missed")


def _prefill(name, results):
    peak, prefill = results.get("bf16 rate", "phi3 bf16 prefill")
    rate = prefill["operations"] / prefill["seconds"]
    figure = f"{prefill['seconds'] * 1e3:.1f} ms, {rate / 1e12:.0f} TFLOP/s"
    return _share(name, figure, rate / peak["operations_per_s"], 0.70, 0.78)


def _book(name, results):
    book = results.get("phi3 bf16 book")
    figure = f"{book['seconds']:.2f} s with a cache, {book['seconds_without_cache']:.2f} without"
    return Line(name, figure, verdict="reported")


def _sanitizer(name, results, tool):
    results.get(tool)
    return Line(name, "no error", "none", verdict="right")


def _reported(name, figure):
    return Line(name, figure, verdict="reported")


def _unmeasured(why):
    raise KeyError(why)


def lines(results, gpu):
    """The whole table, in its order."""
    r = Results(results)
    rows = [
        ("copy on the device",
         lambda n: _reported(n, f"{r.get('copy')['bytes_per_s'] / 1e9:.0f} GB/s")),
        ("bf16 product 8192^3, cuBLAS",
         lambda n: _reported(n, f"{r.get('bf16 rate')['operations_per_s'] / 1e12:.0f} TFLOP/s")),
        ("ops, against the reference", lambda n: _right(n, r.get("ops"))),
        ("ops at shapes of models, against the CPU",
         lambda n: _right(n, r.get("ops at model shapes"))),
        ("Phi-3 bf16: same bits in any batch", lambda n: _right(n, r.get("phi3 bf16 batches"))),
        ("Phi-3 Q4_0: same bits in any batch", lambda n: _right(n, r.get("phi3 q4_0 batches"))),
        ("compute-sanitizer memcheck", lambda n: _sanitizer(n, r, "memcheck")),
        ("compute-sanitizer racecheck", lambda n: _sanitizer(n, r, "racecheck")),
        ("Phi-3 bf16 decode, batch 1 at 512",
         lambda n: _decode(n, r, "phi3 bf16 decode 1", 0.92, 0.94)),
        ("Llama-3.2-1B bf16 decode, batch 1", lambda n: _llama(n, r, gpu)),
        ("Phi-3 bf16 decode, batch 8 at 512", lambda n: _decode(n, r, "phi3 bf16 decode 8", 0.86)),
        ("Phi-3 bf16 decode, batch 64 at 512",
         lambda n: _decode(n, r, "phi3 bf16 decode 64", 0.82)),
        ("Phi-3 Q4_0 decode, batch 1 at 512",
         lambda n: _ratio(n, r, "phi3 bf16 decode 1", "phi3 q4_0 decode 1", 2.4, "bf16")),
        ("Phi-3 bf16 prefill 2048", lambda n: _prefill(n, r)),
        ("exact against fast", lambda n: _unmeasured(NO_FAST_MODE)),
        ("transformers, static cache and torch.compile", lambda n: _peer(n, r)),
        ("four stages and a head on one GPU", lambda n: _unmeasured(NO_HOP)),
        ("the book's experiment, 100 tokens", lambda n: _book(n, r)),
    ]
    return [_line(name, make) for name, make in rows]


def _line(name, make):
    try:
        return make(name)
    except KeyError as error:
        return Line(name, why=str(error.args[0]))


def failed(table):
    """Whether something is wrong, or was to be measured and could not be."""
    expected = {NO_FAST_MODE, NO_HOP}
    return any(line.verdict == "WRONG" or
               line.verdict == NOT_MEASURED and line.why not in expected for line in table)


def text(table):
    """As it is printed."""
    columns = ("row", "figure", "wanted", "share", "verdict")
    cells = [columns] + [(t.name, t.figure, t.wanted, t.share, t.verdict) for t in table]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    out = []
    for row, line in zip(cells, [None, *table]):
        out.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if line and line.why:
            out += [f"    {part}" for part in line.why.splitlines()]
    return "\n".join(out)
