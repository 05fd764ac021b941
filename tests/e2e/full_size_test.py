"""Slow: Phi-3-mini at full size, with random weights, decodes in the memory that it should take.

It needs about 8.5 GB of memory; where less than 10 GB are free it is skipped.
"""

import re
import unittest

from catena import CatenaTest, read_json

FREE_BYTES_NEEDED = 10_000_000_000
BEYOND_BYTES = 400_000_000  # what a process may take past its weights and KV
PAGE_POSITIONS = 64
NEW_TOKENS = 8
PROMPT = (1, 15043, 3186)
BITS_A_WEIGHT = {"q8_0": 8 * 34 / 32, "f16": 16}  # q8_0: 32 int8 and one f16 scale


def free_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"MemAvailable: +(\d+) kB", file.read())[1]) * 1024


def weight_bytes(config, weight_format):
    """Of all tensors, from the shapes of config.json; norms are float32."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = hidden // config["num_attention_heads"]
    kv = head_dim * config["num_key_value_heads"]
    blocks = config["num_hidden_layers"]
    block = hidden * (hidden + 2 * kv) + hidden * hidden + 3 * hidden * inner
    matrices = blocks * block + 2 * config["vocab_size"] * hidden  # the embedding, the LM head
    norms = (2 * blocks + 1) * hidden
    return int(matrices * BITS_A_WEIGHT[weight_format] / 8) + 4 * norms


def kv_bytes(config, positions):
    """Keys and values in 16 bits, whole pages."""
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    a_position = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim
    return -(-positions // PAGE_POSITIONS) * PAGE_POSITIONS * a_position


class FullSizeTest(CatenaTest):

    def assert_decodes_in_its_memory(self, weight_format):
        path = self.shared("phi3/config.json")
        if free_bytes() < FREE_BYTES_NEEDED:
            self.skipTest(f"less than {FREE_BYTES_NEEDED / 1e9:.0f} GB of memory are free")
        config = read_json(path)
        self.assertEqual(kv_bytes(config, 1), PAGE_POSITIONS * 384 * 1024)
        out = self.object_of("generate", "-m", path, "--weights", "random:1", "--weight-format",
                             weight_format, "--prompt-tokens", ",".join(map(str, PROMPT)),
                             "--max-tokens", NEW_TOKENS, "--ignore-eos", "--json")
        self.assertEqual(len(out["token_ids"]), NEW_TOKENS)
        self.assertEqual(out["finish_reason"], "length")
        most = (weight_bytes(config, weight_format) + kv_bytes(config, len(PROMPT) + NEW_TOKENS)
                + BEYOND_BYTES)
        self.assertLessEqual(out["stats"]["peak_memory_bytes"], most)

    def test_phi3_mini_in_q8_0_takes_its_weights_its_kv_and_400_mb_at_most(self):
        self.assert_decodes_in_its_memory("q8_0")

    def test_phi3_mini_in_f16_takes_its_weights_its_kv_and_400_mb_at_most(self):
        self.assert_decodes_in_its_memory("f16")


if __name__ == "__main__":
    unittest.main()
