#!/usr/bin/env python3
"""The script around a measurement: what becomes of rows that crash, hang, fail or print nonsense,
the figures of the table, and what is said where there is no GPU. Instead of gpu_bench runs a
program that prints what such a run printed, or misbehaves as it is told; with GPU_BENCH_EMULATED,
its own on an emulated GPU besides.
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import measure  # noqa: E402
import parts  # noqa: E402
import table  # noqa: E402

RUN = pathlib.Path(__file__).with_name("run.sh")
# A whole run's figures, about as the H200 of a prototype has them.
FIGURES = {
    "copy": {"bytes_per_s": 4.0e12},
    "ops": {"compared": 400, "wrong": []},
    "ops at model shapes": {"compared": 90, "wrong": []},
    "phi3 bf16 decode 1": {"seconds": 2e-3, "streams": 1, "bytes": 7_520_000_000},
    "phi3 bf16 batches": {"compared": 12, "wrong": []},
    "phi3 bf16 prefill": {"seconds": 30e-3, "tokens": 2048, "operations": int(15e12)},
    "phi3 bf16 decode 8": {"seconds": 4e-3, "streams": 8, "bytes": 9_000_000_000},
    "phi3 bf16 decode 64": {"seconds": 6e-3, "streams": 64, "bytes": 20_400_000_000},
    "phi3 bf16 book": {"seconds": 0.25, "seconds_without_cache": 1.5},
    "llama-1b bf16 decode 1": {"seconds": 800e-6, "streams": 1, "bytes": 2_500_000_000},
    "phi3 q4_0 decode 1": {"seconds": 0.8e-3, "streams": 1, "bytes": 2_100_000_000},
    "phi3 q4_0 batches": {"compared": 12, "wrong": []},
    "bf16 rate": {"operations_per_s": 800e12},
    "transformers": {"compiled": True, "seconds": 3e-3},
    "memcheck": {"row": "ops", "compared": 90, "wrong": []},
    "racecheck": {"row": "ops", "compared": 90, "wrong": []},
}

FAKE = """#!{python}
import json, os, signal, sys
with open({told!r}) as file:
    told = json.load(file)
for row in [a for a in sys.argv[1:] if a in told]:
    with open({log!r}, "a") as log:
        log.write(row + "\\n")
    do = told[row]
    if do == "crash":
        print("CUDA is unhappy", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if do == "hang":
        signal.pause()
    if do == "nonsense":
        print("[1, 2", flush=True)
        continue
    print(json.dumps(dict(do, row=row)), flush=True)
"""


class FakeBench:
    """A program that does for each row what `told` says: "crash", "hang", "nonsense" or figures."""

    def __init__(self, folder, told):
        self.log = pathlib.Path(folder, "rows")
        self.path = pathlib.Path(folder, "bench")
        pathlib.Path(folder, "told").write_text(json.dumps(told), encoding="utf-8")
        self.path.write_text(FAKE.format(python=sys.executable, log=str(self.log),
                                         told=str(pathlib.Path(folder, "told"))), encoding="utf-8")
        self.path.chmod(0o755)

    def rows(self):
        return self.log.read_text(encoding="utf-8").split()


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name


class PartsTest(Folder):
    def measure(self, told, limits=None, budget=60):
        bench, kept = FakeBench(self.folder, told), {}
        limits = {row: 30 for row in told} | (limits or {})
        parts.measure_rows([str(bench.path)], list(told), parts.Clock(budget), limits,
                           kept.__setitem__)
        self.assertEqual(list(kept), list(told))
        return bench, kept

    def test_rows_are_measured_in_one_process(self):
        _, kept = self.measure({"a": {"seconds": 1}, "b": {"seconds": 2}})
        self.assertEqual(kept["b"], {"seconds": 2, "row": "b"})

    def test_a_crash_costs_its_own_row_alone_and_says_what_the_process_said(self):
        bench, kept = self.measure({"a": {"seconds": 1}, "b": "crash", "c": {"seconds": 3}})
        self.assertEqual(kept["a"]["seconds"], 1)
        self.assertEqual(kept["b"], {"error": "ended with signal 6: CUDA is unhappy"})
        self.assertEqual(kept["c"]["seconds"], 3)
        self.assertEqual(bench.rows(), ["a", "b", "c"])  # none twice

    def test_a_row_that_hangs_is_ended_at_its_limit(self):
        _, kept = self.measure({"a": "hang", "b": {"seconds": 2}}, {"a": 1})
        self.assertEqual(kept["a"], {"error": "took over 1 s"})
        self.assertEqual(kept["b"]["seconds"], 2)

    def test_what_is_no_json_is_no_figure(self):
        _, kept = self.measure({"a": "nonsense", "b": {"seconds": 2}})
        self.assertIn("error", kept["a"])
        self.assertEqual(kept["b"]["seconds"], 2)

    def test_once_the_time_is_over_nothing_is_begun(self):
        bench, kept = self.measure({"a": "hang", "b": {"seconds": 2}}, budget=1)
        self.assertEqual(kept["a"], {"error": "took over 1 s"})
        self.assertEqual(kept["b"], {"error": "no time was left for it"})
        self.assertEqual(bench.rows(), ["a"])

    def test_a_bench_that_does_not_start_costs_every_row(self):
        kept = {}
        parts.measure_rows(["/nonexistent/bench"], ["a", "b"], parts.Clock(9), {"a": 1, "b": 1},
                           kept.__setitem__)
        self.assertEqual(list(kept), ["a", "b"])
        self.assertIn("did not start", kept["b"]["error"])

    def program(self, code, limit_s=30):
        return parts.measure_program([sys.executable, "-c", code], limit_s)

    def test_a_programs_last_figures_count(self):
        self.assertEqual(self.program("print('hello'); print('{\"s\": 1}'); print('{\"s\": 2}')"),
                         {"s": 2})

    def test_a_program_that_fails_has_an_error_beside_what_it_knew(self):
        figures = self.program("print('{\"s\": 1}'); raise SystemExit('no torch')")
        self.assertEqual(figures, {"s": 1, "error": "ended with code 1: no torch"})

    def test_a_program_that_hangs_keeps_what_it_knew(self):
        figures = self.program(
            "import signal; print('{\"s\": 1}', flush=True); signal.pause()", limit_s=1)
        self.assertEqual(figures, {"s": 1, "error": "took over 1 s"})


class TableTest(unittest.TestCase):
    def lines(self, gpu="NVIDIA H200", **changes):
        lines = table.lines(FIGURES | {k.replace("_", " "): v for k, v in changes.items()}, gpu)
        return lines, {line.name: line for line in lines}

    def test_shares_and_verdicts(self):
        lines, by_name = self.lines()
        self.assertEqual([(n, by_name[n].share, by_name[n].verdict) for n in (
            "Phi-3 bf16 decode, batch 1 at 512",
            "Phi-3 bf16 decode, batch 8 at 512",
            "Phi-3 bf16 decode, batch 64 at 512",
            "Phi-3 Q4_0 decode, batch 1 at 512",
            "Phi-3 bf16 prefill 2048",
            "Llama-3.2-1B bf16 decode, batch 1",
            "transformers, static cache and torch.compile")], [
                ("Phi-3 bf16 decode, batch 1 at 512", "94.0%", "met"),
                ("Phi-3 bf16 decode, batch 8 at 512", "56.2%", "missed"),
                ("Phi-3 bf16 decode, batch 64 at 512", "85.0%", "met"),
                ("Phi-3 Q4_0 decode, batch 1 at 512", "2.50 x", "met"),
                ("Phi-3 bf16 prefill 2048", "62.5%", "missed"),
                ("Llama-3.2-1B bf16 decode, batch 1", "95.0%", "missed"),
                ("transformers, static cache and torch.compile", "1.50 x", "met")])
        self.assertFalse(table.failed(lines))

    def test_the_limit_of_llama_is_that_of_the_gpu(self):
        name = "Llama-3.2-1B bf16 decode, batch 1"
        self.assertEqual(self.lines("NVIDIA H100 80GB HBM3")[1][name].verdict, "met")
        self.assertEqual(self.lines("NVIDIA A100")[1][name].verdict, "reported")

    def test_what_nothing_can_measure_yet_says_so_and_fails_nothing(self):
        lines, by_name = self.lines()
        for name in ("exact against fast", "four stages and a head on one GPU"):
            self.assertEqual((by_name[name].verdict, by_name[name].figure),
                             (table.NOT_MEASURED, ""))
            self.assertIn(by_name[name].why, table.text(lines))

    def test_a_row_that_lacks_what_it_is_a_share_of_has_no_figure(self):
        lines, by_name = self.lines(copy={"error": "took over 30 s"})
        line = by_name["Phi-3 bf16 decode, batch 1 at 512"]
        self.assertEqual((line.verdict, line.figure, line.why),
                         (table.NOT_MEASURED, "", "needs copy: took over 30 s"))
        self.assertTrue(table.failed(lines))

    def test_figures_beside_an_error_are_none(self):
        lines, by_name = self.lines(
            transformers={"compiled": True, "seconds": 9, "error": "ended with signal 9"})
        self.assertEqual(by_name["transformers, static cache and torch.compile"].why,
                         "ended with signal 9")
        self.assertTrue(table.failed(lines))

    def test_transformers_without_compilation_is_no_comparison(self):
        lines, by_name = self.lines(transformers={"compiled": False, "seconds": 30e-3})
        line = by_name["transformers, static cache and torch.compile"]
        self.assertEqual((line.verdict, line.share), (table.NOT_MEASURED, ""))
        self.assertTrue(table.failed(lines))

    def test_one_wrong_op_is_shown_and_fails(self):
        lines, by_name = self.lines(ops={"compared": 400, "wrong": ["embed q8_0, 64, 1 row"]})
        line = by_name["ops, against the reference"]
        self.assertEqual((line.verdict, line.figure), ("WRONG", "399 of 400"))
        self.assertIn("embed q8_0, 64, 1 row", table.text(lines))
        self.assertTrue(table.failed(lines))

    def test_nothing_compared_is_not_right(self):
        self.assertTrue(table.failed(self.lines(ops={"compared": 0, "wrong": []})[0]))


class MeasurementTest(Folder):
    """The whole script, with programs of ours first in the path."""

    def run_script(self, *options, smi=None, env=None):
        bin_folder = pathlib.Path(self.folder, "bin")
        bin_folder.mkdir(exist_ok=True)
        tool = bin_folder / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + (f"echo '{smi}'\n" if smi else "exit 9\n"))
        tool.chmod(0o755)
        return subprocess.run([RUN, "--out", self.folder, *options], capture_output=True, text=True,
                              env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
                              timeout=300)

    def test_without_a_gpu_nothing_is_measured(self):
        bench = FakeBench(self.folder, FIGURES)
        done = self.run_script("--bench", str(bench.path))
        self.assertEqual(done.returncode, 2)
        self.assertIn("finds no NVIDIA GPU here", done.stderr)
        self.assertFalse(bench.log.exists())

    def test_without_its_program_it_says_how_to_get_it(self):
        done = self.run_script("--bench", f"{self.folder}/none", smi="NVIDIA H200, 580, 143771 MiB")
        self.assertEqual(done.returncode, 2)
        self.assertIn("tests/gpu/build.sh", done.stderr)

    def test_what_is_known_is_in_the_file_though_the_script_is_killed(self):
        bench = FakeBench(self.folder, FIGURES | {"ops": "hang"})
        with self.assertRaises(subprocess.TimeoutExpired):
            subprocess.run([RUN, "--out", self.folder, "--bench", bench.path, "--small"],
                           capture_output=True, timeout=3)
        whole = json.loads(pathlib.Path(self.folder, "gpu.json").read_text())
        self.assertEqual(whole["figures"]["copy"]["bytes_per_s"], 4.0e12)

    def test_every_row_is_of_a_group_and_has_a_line(self):
        rows = [row for group in measure.GROUPS + measure.LAST_GROUPS for row in group]
        programs = {"bf16 rate", "transformers", "memcheck", "racecheck"}
        self.assertEqual(sorted(rows + list(programs)), sorted(FIGURES))
        with contextlib.redirect_stderr(io.StringIO()):
            for missing in FIGURES:
                left = {k: v for k, v in FIGURES.items() if k != missing}
                self.assertTrue(table.failed(table.lines(left, "NVIDIA H200")), missing)


@unittest.skipUnless("GPU_BENCH_EMULATED" in os.environ, "no gpu_bench_emulated")
class EmulatedTest(Folder):
    """The program itself, on the emulated GPU with a tiny model."""

    def test_it_measures_every_row(self):
        bench = os.environ["GPU_BENCH_EMULATED"]
        listed = subprocess.run([bench, "--list"], capture_output=True, text=True, check=True)
        rows = [row for group in measure.GROUPS + measure.LAST_GROUPS for row in group]
        self.assertEqual(sorted(listed.stdout.splitlines()), sorted(rows))
        done = subprocess.run([RUN, "--small", "--bench", bench, "--out", self.folder],
                              capture_output=True, text=True, timeout=250)
        figures = json.loads(pathlib.Path(self.folder, "gpu.json").read_text())["figures"]
        self.assertEqual(sorted(figures), sorted(rows), done.stderr)
        for row, measured in figures.items():
            self.assertNotIn("error", measured, row)
            self.assertEqual(measured.get("wrong", []), [], row)
        for row in ("ops", "ops at model shapes"):
            self.assertGreater(figures[row]["compared"], 30)
        self.assertIn("NOT MEASURED", done.stdout)


if __name__ == "__main__":
    unittest.main()
