"""catena plan --gpus: what a cluster of GPUs makes of a load."""

import tempfile
import unittest

from catena import CatenaTest


class CapacityTest(CatenaTest):

    def test_plan_for_a_load_gives_every_gpu_a_stage(self):
        config = self.shared("phi3/config.json")
        cluster = ("plan", config, "--gpus", 40, "--gpu", "h100", "--qps", 50, "--input", 1000,
                   "--output", 200)
        plan = self.object_of(*cluster, "--json")
        self.assertEqual(sum(s["replicas"] for s in plan["stages"]), 40)
        self.assertEqual(plan["forecast"]["tokens_per_s"], 50 * 200)
        self.assertGreater(plan["most_requests_per_s"], 50)
        self.assertGreater(plan["loss"]["pause_most_s"], 0)
        chosen = self.object_of(*cluster, "--json", "--stages", 4)
        self.assertEqual([s["role"] for s in chosen["stages"]], ["shard"] * 4 + ["head"])
        text = self.text_of(*cluster)
        self.assertIn("computed, not measured", text)
        self.assertRegex(text, r"at most +\d+ requests/s, bounded by ")
        self.assertRegex(text, r"a GPU is lost +\d+ requests pause for ")

    def test_plan_takes_what_bench_measured(self):
        config = self.shared("phi3/config.json")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as bench:
            bench.write('{"streams": 1, "prefill_tokens_per_s": 1000, "decode_tokens_per_s": 2}')
            bench.flush()
            plan = self.object_of("plan", config, "--gpus", 8, "--qps", 0.1, "--output", 10,
                                  "--bench", bench.name, "--json")
        self.assertTrue(plan["measured"])
        self.assertGreater(plan["forecast"]["token_s"], 0.5)

    def test_plan_says_what_is_lacking(self):
        config = self.shared("phi3/config.json")
        for options, says in ((("--gpus", 8, "--gpu", "k80"), b"h100"),
                              (("--gpus", 3, "--stages", 3), b"--gpus"),
                              (("--gpus", 8, "--bench", "/nowhere"), b"--bench /nowhere"),
                              (("--stages", 2, "--qps", 8), b"--gpus"),
                              ((), b"--stages or --gpus")):
            done = self.run_bytes("plan", config, *options)
            self.assertGreater(done.returncode, 0, options)
            self.assertEqual((done.stdout, done.stderr.count(b"\n")), (b"", 1), options)
            self.assertIn(says, done.stderr)


if __name__ == "__main__":
    unittest.main()
