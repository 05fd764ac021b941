"""A stage that is slow is not taken for one that stands still."""

import json
import math
import unittest

from cluster import Cluster
from errors_test import ErrorCase

PROMPT_TOKENS = 600
NO_PROGRESS_S = 3
PREFILL_S = 10  # about: far more than that, and a batch takes far less
LIMITS = ("--no-progress", f"{NO_PROGRESS_S}s", "--longest-batch", "200ms",
          "--probe-every", "100ms")
OPTIONS = ("--weights", "random:1", "--weight-format", "f16", "--backend", "ref", "--threads", 1)
SIZE = {"hidden_size": 256, "intermediate_size": 704, "num_attention_heads": 8,
        "num_key_value_heads": 8, "max_position_embeddings": 1024,
        "original_max_position_embeddings": 1024}


def request(prompt_tokens):
    prompt = ",".join(str(3 + i % 500) for i in range(prompt_tokens))
    return ("generate", "--prompt-tokens", prompt, "--ignore-eos", "--max-tokens", 2, "--json")


class SlowTest(ErrorCase):

    def model(self, blocks):
        path = self.copy_of("stories260k-phi3") / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.update(SIZE, num_hidden_layers=blocks)
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def slow_model(self):
        """One whose prefill takes about PREFILL_S here and now."""
        some = PROMPT_TOKENS // 10
        stats = self.object_of(*request(some), "--model", self.model(1), *OPTIONS)["stats"]
        return self.model(math.ceil(PREFILL_S / (stats["prefill_s"] * PROMPT_TOKENS / some)))

    def test_a_long_prompt_on_the_reference_kernels_goes_through(self):
        with Cluster(self, self.slow_model(), "--stages", 1, *OPTIONS, *LIMITS) as cluster:
            done = cluster.run(*request(PROMPT_TOKENS))
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            result = json.loads(done.stdout)
            self.assertEqual(len(result["token_ids"]), 2)
            # Else it showed nothing.
            self.assertGreater(result["stats"]["prefill_s"], NO_PROGRESS_S)
            self.assertTrue(cluster.is_ready())


if __name__ == "__main__":
    unittest.main()
