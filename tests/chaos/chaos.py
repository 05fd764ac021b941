"""Many texts are written while harm is done to a cluster: each is what one process writes alone,
logprobs included, and none fails.

CHAOS_STREAMS  texts of a run (48)
CHAOS_RECORD   a file for what was done and how long the texts stood still
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from by_hand import ClusterByHand, RoleCluster  # noqa: E402,F401
from catena import COMMAND, SMOLLM2, CatenaTest  # noqa: E402,F401
from cluster import Cluster, await_that  # noqa: E402

STREAMS = int(os.environ.get("CHAOS_STREAMS", "48"))
RECORD = os.environ.get("CHAOS_RECORD")
AT_A_TIME = 16
CALM_S = 1  # after each recovery
ASK_S = 0.5  # between questions whether it has: a command each, where what pauses needs processors
STOPPED_S = 6  # longer than it takes to be missed
LAYOUT = ("--layers", "0-10,10-20,20-30", "--replicas", "0=2", "1=2")
TWICE = ("--layers", "0-10,10-20,20-30",
         "--replicas", "0=2", "1=2", "2=2", "head=2", "tokenizer=2")
TOKENS = 60

PROMPTS = ("The capital of France is", "Once upon a time there was a", "def fibonacci(n):",
           "Water boils at", "The three laws of robotics are", "In the year 1969,")
# Everything that a token may depend on.
SAMPLINGS = (
    ("--temperature", "0"),
    ("--temperature", "0.9", "--seed", "7"),
    ("--temperature", "0.8", "--top-p", "0.9", "--seed", "11", "--repetition-penalty", "1.3"),
    ("--temperature", "0", "--logprobs", "3"),
    ("--temperature", "0", "--speculate", "8"),
    ("--temperature", "1.1", "--top-k", "40", "--seed", "3", "--frequency-penalty", "0.5"),
)
PAUSED = re.compile(r"moved .*?noticed_s=([0-9.e-]+) paused_s=([0-9.e-]+) why=(.*)")
CHOSEN = ("it evens the load", "drains")  # why a text moves from where it could have stayed


def requests():
    """Options of all different texts."""
    return [("--prompt", prompt, "--max-tokens", TOKENS, "--ignore-eos", *sampling)
            for prompt, sampling in itertools.product(PROMPTS, SAMPLINGS)]


def what_counts(output):
    """Of a JSON answer: all but its name and how long it took."""
    answer = json.loads(output)
    return {key: answer[key] for key in ("text", "token_ids", "finish_reason", "logprobs")}


def quantiles(times):
    """Of seconds, for people."""
    if not times:
        return "-"
    times = sorted(times)
    at = [times[min(int(q * len(times)), len(times) - 1)] for q in (0.5, 0.99, 1)]
    return "p50 {:.0f}, p99 {:.0f}, most {:.0f} ms".format(*(1000 * t for t in at))


class Trouble(threading.Thread):
    """Does `harm` to one process after another, each time a while after the cluster has recovered.
    A context manager that ends when the last recovery has."""

    def __init__(self, harm):
        super().__init__()
        self._harm = harm
        self._over = threading.Event()
        self.done = []
        self.error = None

    def run(self):
        try:
            while not self._over.wait(CALM_S):
                self.done.append(self._harm())
        except Exception as error:  # pylint: disable=broad-except; told by __exit__
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        self.join()
        if kind is None and self.error:
            raise self.error


class ChaosCase(CatenaTest):

    texts_left = False  # while there are some, harm may wait for what they do

    @classmethod
    def setUpClass(cls):
        cls.want = {}
        cls.random = random.Random(1)

    def reference(self, request):
        if request not in self.want:
            output = self.text_of("generate", "--model", SMOLLM2, *request, "--json")
            self.want[request] = what_counts(output)
        return self.want[request]

    def one(self, cluster, request):
        """What is wrong with one text, or None."""
        done = cluster.run("generate", *request, "--json")
        if done.returncode != 0:
            return f"{request}: failed: {done.stderr.decode()}"
        got = what_counts(done.stdout)
        return None if got == self.reference(request) else f"{request}: altered: {got}"

    def all_texts(self, cluster, name, harm):
        """Writes STREAMS texts while harm is done; all must be right."""
        asked = list(itertools.islice(itertools.cycle(requests()), STREAMS))
        for request in set(asked):
            self.reference(request)
        self.texts_left = True
        with Trouble(harm) as trouble:
            with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
                wrong = [w for w in pool.map(lambda r: self.one(cluster, r), asked) if w]
            self.texts_left = False
        await_that(cluster.is_ready, "the cluster is ready again")
        self.tell(cluster, name, len(asked), trouble.done)
        self.assertEqual(wrong, [], cluster.log()[-4000:])
        self.assertTrue(trouble.done, "nothing was done to it")

    @staticmethod
    def tell(cluster, name, texts, done):
        chosen, forced = [], []
        for noticed, paused, why in PAUSED.findall(cluster.log()):
            moves = chosen if any(c in why for c in CHOSEN) else forced
            moves.append((float(noticed), float(paused)))
        line = (f"{name}: {texts} texts, {len(done)} times trouble, {len(forced)} moves; "
                f"paused {quantiles([p for _, p in forced])}; "
                f"noticed after {quantiles([n for n, _ in forced])}; "
                f"went on after {quantiles([p - n for n, p in forced])}; "
                f"and {len(chosen)} from what works; "
                f"paused {quantiles([p for _, p in chosen])}\n")
        print(line, end="")
        if RECORD:
            with open(RECORD, "a", encoding="utf-8") as out:
                out.write(line)

    def cluster(self, layout=LAYOUT):
        self.shared_model()
        return Cluster(self, SMOLLM2, *layout)

    def shared_model(self):
        if not SMOLLM2:
            self.skipTest("no default model")

    @staticmethod
    def await_another(cluster, pid):
        threading.Event().wait(ASK_S)
        await_that(lambda: cluster.has_replaced(pid), "another is in its place", pause_s=ASK_S)

    def victim(self, cluster, roles=("shard", "head", "tokenizer")):
        return self.random.choice([p for p in cluster.status()["processes"] if p["role"] in roles])
