"""A stage that is slow is not taken for one that stands still."""

import json
import unittest

from cluster import Cluster
from errors_test import ErrorCase

PROMPT_TOKENS = 600
# Far less than the prompt takes, far more than one of its batches does.
NO_PROGRESS_S = 3
LIMITS = ("--no-progress", f"{NO_PROGRESS_S}s", "--longest-batch", "200ms",
          "--probe-every", "100ms")
# Large enough to be slow on the reference kernels, small enough for a test.
SIZE = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 1024,
        "original_max_position_embeddings": 1024}


class SlowTest(ErrorCase):

    def test_a_long_prompt_on_the_reference_kernels_goes_through(self):
        folder = self.copy_of("stories260k-phi3")
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.update(SIZE)
        path.write_text(json.dumps(config), encoding="utf-8")
        prompt = ",".join(str(3 + i % 500) for i in range(PROMPT_TOKENS))
        options = ("--weights", "random:1", "--weight-format", "f16", "--backend", "ref",
                   "--threads", 1)
        generate = ("generate", "--prompt-tokens", prompt, "--ignore-eos", "--max-tokens", 2,
                    "--json")
        with Cluster(self, path, *options, *LIMITS) as cluster:
            done = cluster.run(*generate)
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            result = json.loads(done.stdout)
            self.assertEqual(len(result["token_ids"]), 2)
            # Else it showed nothing.
            self.assertGreater(result["stats"]["prefill_s"], NO_PROGRESS_S)
            self.assertTrue(cluster.is_ready())


if __name__ == "__main__":
    unittest.main()
