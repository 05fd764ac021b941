"""Running parts of a measurement, each a process of its own with a time limit, so that one that
crashes or hangs costs its own figures alone. A part's figures are a dictionary; one that has none
has an "error", which says why.
"""

import collections
import ctypes
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time

STDERR_BYTES = 2000  # of a process that failed, in its error


class Clock:
    """The time that is left of the whole."""

    def __init__(self, budget_s):
        self.end = time.monotonic() + budget_s

    def limit(self, limit_s):
        return min(limit_s, self.end - time.monotonic())


def _end_with_parent():
    """So that nothing stays on a GPU, whatever ends this script: Linux's PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Process:
    """A process in a group of its own, whose lines are read with a time limit each."""

    def __init__(self, command):
        self._stderr = tempfile.TemporaryFile()
        try:
            self._pipe = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._stderr,
                                          stdin=subprocess.DEVNULL, start_new_session=True,
                                          preexec_fn=_end_with_parent)
        except OSError:
            self._stderr.close()
            raise
        self.code = None  # once it has ended
        self._lines = collections.deque()
        self._rest = b""

    def line(self, limit_s):
        """The next line; None at the end. TimeoutError."""
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe.stdout, selectors.EVENT_READ)
            while not self._lines:
                if not selector.select(max(0, end - time.monotonic())):
                    raise TimeoutError
                data = os.read(self._pipe.stdout.fileno(), 1 << 16)
                if not data:
                    return None
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._lines.extend(lines)
        return self._lines.popleft().decode(errors="replace")

    def end(self):
        """Ends it, where it has not ended by itself; how it ended, in words."""
        try:
            self._pipe.wait(1)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._pipe.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.code = code = self._pipe.wait()
        self._pipe.stdout.close()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip()[-STDERR_BYTES:]
        self._stderr.close()
        how = f"ended with signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{how}: {said}" if said else how


def measure_rows(command, rows, clock, limits, keep):
    """Rows of gpu_bench, {name: limit in seconds}, in one process as long as that lives; from the
    row on that it dies at, in another. keep(name, figures) is called for each as it is known."""
    left = list(rows)
    while left:
        if clock.limit(limits[left[0]]) <= 0:
            keep(left.pop(0), {"error": "no time was left for it"})
            continue
        left = _run_until_trouble(command, left, clock, limits, keep)


def _run_until_trouble(command, rows, clock, limits, keep):
    """Measures rows till the process ends; those that are left without the one it died at."""
    try:
        process = Process([*command, *rows])
    except OSError as error:
        keep(rows[0], {"error": f"{command[0]} did not start: {error}"})
        return rows[1:]
    for i, name in enumerate(rows):
        limit = clock.limit(limits[name])
        figures = _next_figures(process, limit)
        if figures is not None and figures.get("row") == name:
            keep(name, figures)
            continue
        how = process.end()
        keep(name, {"error": f"took over {limit:.0f} s" if figures == {} else how})
        return rows[i + 1:]
    process.end()
    return []


def _next_figures(process, limit_s):
    """The next line's; None where there is none that is such, {} where it did not come in time."""
    try:
        line = process.line(limit_s)
        figures = None if line is None else json.loads(line)
    except TimeoutError:
        return {}
    except ValueError:
        return None
    return figures if isinstance(figures, dict) and figures else None


def measure_program(command, limit_s):
    """A program that prints figures, a line of JSON each time that it knows more: the last ones,
    with "error" beside where it failed after them."""
    if limit_s <= 0:
        return {"error": "no time was left for it"}
    try:
        process = Process(command)
    except OSError as error:
        return {"error": f"{command[0]} did not start: {error}"}
    end, known = time.monotonic() + limit_s, {}
    while True:
        try:
            line = process.line(end - time.monotonic())
        except TimeoutError:
            process.end()
            return {**known, "error": f"took over {limit_s:.0f} s"}
        if line is None:
            break
        try:
            figures = json.loads(line)
        except ValueError:
            continue  # what a library prints besides
        known = figures if isinstance(figures, dict) else known
    how = process.end()
    return known if process.code == 0 else {**known, "error": how}
