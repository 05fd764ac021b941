"""What a cluster writes is compared with what one process writes: the requests, and both ways."""

import concurrent.futures

from catena import CatenaTest, commas, parse_lines

GREEDY = ("--ignore-eos", "--logprobs", 3, "--max-tokens", 24)
SAMPLED = ("--temperature", 1, "--seed", 5, "--n", 2, "--max-tokens", 16)
PENALISED = ("--repetition-penalty", 1.3, "--temperature", 0.7, "--top-p", 0.9, "--seed", 6,
             "--logprobs", 0)


def comparable(line):
    return {key: line[key] for key in ("text", "token_ids", "logprobs", "finish_reason")}


def request(prompt, *options):
    return ("generate", "--prompt-tokens", commas(prompt), "--json", *options)


class SameBitsCase(CatenaTest):
    """Each request once in one process, and once through a cluster."""

    def outputs(self, lines):
        return [comparable(line) for line in lines]

    def alone(self, model, requests, *run_options):
        return [self.outputs(self.lines_of(*r, "--model", model, *run_options)) for r in requests]

    def through(self, cluster, requests, clients=1):
        def ask(one):
            done = cluster.run(*one)
            self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), cluster.log())
            return self.outputs(parse_lines(done.stdout.decode()))
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            return list(pool.map(ask, requests))

    def speculating(self, requests):
        return [(*r, "--speculate", 6) for r in requests]

    def requests_for(self, vocab, context, count=4):
        """Prompts of one id, of a few, and of more than a page and half the context."""
        lengths = [1, 5, 70, context // 2]
        options = [GREEDY, SAMPLED, PENALISED, GREEDY]
        return [request([(7 * i + 13 * j) % vocab for j in range(lengths[i % 4])], *options[i % 4])
                for i in range(count)]

    def shape(self, model):
        out = self.object_of("inspect", model, "--json")
        return out["vocab_size"], min(out["context_length"], 512), out["n_layers"]

    def texts_for_the_default_model(self):
        return [("generate", "--prompt", "The capital of France is", "--json", *GREEDY),
                ("generate", "--chat", "--prompt", "Why is the sky blue?", "--json",
                 "--max-tokens", 24),
                request(range(300), *GREEDY)]
