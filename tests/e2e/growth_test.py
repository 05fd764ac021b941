"""KV caches too small for all texts at their full length: all begin early, and where pages run
short those that came last make place and go on later, where they were."""

import concurrent.futures
import json
import pathlib
import re
import unittest

from cluster import Cluster
from streams import StreamCase

STREAMS = 6
# At first five pages for each, at its end eight.
PAGES = 17
SAMPLINGS = (("--temperature", "0"), ("--temperature", "0.9", "--repetition-penalty", "1.2"))


class GrowthTest(StreamCase):

    def setUp(self):
        super().setUp()
        path = pathlib.Path(self.model, "config.json")
        config = json.loads(path.read_text(encoding="utf-8"))
        config["sliding_window"] = None  # with one a text stops growing
        path.write_text(json.dumps(config), encoding="utf-8")

    def test_whoever_makes_place_goes_on_with_the_same_text(self):
        with Cluster(self, self.model, "--stages", 2) as cluster:
            page_bytes = max(p["load"]["kv_page_bytes"] for p in cluster.status()["processes"])
        requests = [("--prompt-tokens", "1", "--ignore-eos", "--max-tokens", "500", "--seed", seed,
                     *SAMPLINGS[seed % len(SAMPLINGS)]) for seed in range(STREAMS)]
        want = [self.text_of("generate", "--model", self.model, *r) for r in requests]
        with Cluster(self, self.model, "--stages", 2, "--kv-memory",
                     PAGES * page_bytes) as cluster, \
                concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            texts = pool.map(
                lambda r: self.text_of("generate", "--gateway", cluster.gateway, *r), requests)
            self.assertEqual(list(texts), want)
            made_place = re.findall(r"moved .*the KV cache", cluster.log())
            self.assertTrue(made_place, "nobody had to make place")
            for process in cluster.status()["processes"]:
                self.assertEqual(process["load"]["kv_pages_used"], 0, process)


if __name__ == "__main__":
    unittest.main()
