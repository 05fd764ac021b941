"""The user contract of the command: what goes to stdout, and what each option means."""

import itertools
import json
import math
import re
import shutil
import unittest

from catena import F32, CatenaTest, commas, read_json

GENERATE_KEYS = ["text", "token_ids", "finish_reason", "logprobs", "seed", "stats"]
STATS_KEYS = ["load_s", "prompt_tokens", "prefill_s", "completion_tokens", "decode_s",
              "peak_memory_bytes"]
EOS = 1  # of stories260k-phi3
ALL_FORMATS = ("bf16", "f16", "f32", "q8_0", "q4_0", "q4_1")


def without_seconds(output):
    """What must be equal in two runs of one request."""
    return {**output, "stats": {k: output["stats"][k] for k in
                                ("prompt_tokens", "completion_tokens")}}


class StoriesCase(CatenaTest):
    """Runs on stories260k-phi3, which is small and has a tokenizer."""

    def setUp(self):
        self.model = self.shared("stories260k-phi3")
        self.greedy = read_json(f"{self.model}/golden.json")["greedy_ids"]

    def generate(self, *options, prompt="1"):
        return self.lines_of("generate", "-m", self.model, "--prompt-tokens", prompt, "--json",
                             *options)

    def generate_one(self, *options, prompt="1"):
        (output,) = self.generate(*options, prompt=prompt)
        return output


class GenerateShapeTest(StoriesCase):

    def test_json_has_the_keys_of_the_contract_and_nothing_else_is_on_stdout(self):
        out = self.generate_one(*F32, prompt="1,403")
        self.assertEqual(list(out), GENERATE_KEYS)
        self.assertEqual(list(out["stats"]), STATS_KEYS)
        self.assertEqual(out["token_ids"], self.greedy[1:51])  # 50 tokens unless told otherwise
        self.assertEqual(out["finish_reason"], "length")
        self.assertIsNone(out["logprobs"])
        self.assertIsInstance(out["seed"], int)
        self.assertEqual(out["stats"]["prompt_tokens"], 2)
        self.assertEqual(out["stats"]["completion_tokens"], 50)
        self.assertGreater(out["stats"]["peak_memory_bytes"], 1 << 20)
        for key in ("load_s", "prefill_s", "decode_s"):
            self.assertGreaterEqual(out["stats"][key], 0, key)

    def test_guesses_are_counted_where_they_were_asked_for(self):
        (one, two) = (self.generate_one(*F32, "--speculate", n)["stats"] for n in (0, 4))
        self.assertEqual(list(one), STATS_KEYS)
        self.assertEqual(list(two), [*STATS_KEYS, "drafted_tokens", "accepted_tokens"])
        self.assertGreaterEqual(two["drafted_tokens"], two["accepted_tokens"])

    def test_text_output_is_the_new_text_only(self):
        prompt = "Once upon a time"
        options = ("generate", "-m", self.model, "--prompt", prompt, "--max-tokens", 20)
        (out,) = self.lines_of(*options, "--json")
        self.assertNotIn(prompt, out["text"])
        self.assertGreater(len(out["text"]), 20)
        self.assertEqual(self.text_of(*options), out["text"] + "\n")

    def test_prompt_can_be_read_from_stdin(self):
        options = ("generate", "-m", self.model, "--max-tokens", 8, "--prompt")
        self.assertEqual(self.text_of(*options, "-", stdin="Lily and Tom"),
                         self.text_of(*options, "Lily and Tom"))

    def test_text_of_several_sequences_is_numbered(self):
        options = ("generate", "-m", self.model, "--prompt", "Once", "--n", 3, "--seed", 2,
                   "--temperature", 1, "--max-tokens", 6)
        texts = [o["text"] for o in self.lines_of(*options, "--json")]
        self.assertEqual(self.text_of(*options),
                         "".join(f"[{i}] {text}\n" for i, text in enumerate(texts)))

    def test_stats_go_to_stderr_in_one_line(self):
        options = ("generate", "-m", self.model, "--prompt", "Once", "--max-tokens", 8)
        done = self.run_bytes(*options, "--stats")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout.decode(), self.text_of(*options))
        stats = done.stderr.decode()
        self.assertEqual(stats.count("\n"), 1)
        for part in ("load", "first token after", "8 new tokens", "tok/s", "peak memory"):
            self.assertIn(part, stats)


class SamplingTest(StoriesCase):

    def test_same_seed_gives_the_same_sequences_and_the_first_is_that_of_n_1(self):
        options = ("--temperature", 1, "--max-tokens", 30, "--seed")
        three = [without_seconds(o) for o in self.generate(*options, 7, "--n", 3)]
        again = [without_seconds(o) for o in self.generate(*options, 7, "--n", 3)]
        self.assertEqual(three, again)
        self.assertEqual(len({o["text"] for o in three}), 3)
        one = self.generate_one(*options, 7)
        self.assertEqual(one["token_ids"], three[0]["token_ids"])
        self.assertEqual(one["seed"], 7)
        self.assertNotEqual(self.generate_one(*options, 8)["token_ids"], one["token_ids"])

    def test_drawn_seed_is_given_back_and_repeats_the_text(self):
        options = ("--temperature", 1, "--max-tokens", 30)
        first = self.generate_one(*options)
        self.assertNotEqual(self.generate_one(*options)["seed"], first["seed"])
        again = self.generate_one(*options, "--seed", first["seed"])
        self.assertEqual(without_seconds(again), without_seconds(first))

    def test_generation_config_decides_sampling_and_stop_ids_unless_told_otherwise(self):
        folder = self.temp_dir() / "model"
        shutil.copytree(self.model, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        stop = self.greedy[4]
        (folder / "generation_config.json").write_text(json.dumps(
            {"do_sample": True, "temperature": 1.5, "eos_token_id": [EOS, stop]}))
        self.model = str(folder)
        out = self.generate_one("--temperature", 0, *F32)
        self.assertEqual((out["token_ids"], out["finish_reason"]), (self.greedy[:5], "stop"))
        texts = {self.generate_one("--seed", seed)["text"] for seed in range(4)}
        self.assertGreater(len(texts), 1)  # sampled, though no option asks for it

    def test_top_k_1_at_any_temperature_is_greedy(self):
        out = self.generate_one("--temperature", 2, "--top-k", 1, "--seed", 3, *F32)
        self.assertEqual(out["token_ids"], self.greedy[:50])

    def test_logit_bias_forces_and_forbids_a_token(self):
        first = self.greedy[0]
        forced = self.generate_one("--logit-bias", "500=100", "--max-tokens", 1)
        self.assertEqual(forced["token_ids"], [500])
        banned = self.generate_one("--logit-bias", f"{first}=-100,500=-1", "--max-tokens", 20)
        self.assertNotIn(first, banned["token_ids"])

    def test_penalties_and_filters_are_accepted_and_change_the_text_only_by_the_seed(self):
        options = ("--temperature", 0.8, "--top-k", 40, "--top-p", 0.9, "--min-p", 0.01,
                   "--typical-p", 0.95, "--repetition-penalty", 1.1, "--presence-penalty", 0.1,
                   "--frequency-penalty", 0.1, "--seed", 11)
        self.assertEqual(self.generate_one(*options)["token_ids"],
                         self.generate_one(*options, "--stages", 3)["token_ids"])

    def test_repetition_penalty_ends_repetition(self):
        out = self.generate_one("--repetition-penalty", 100, "--max-tokens", 40)
        self.assertEqual(len(set(out["token_ids"])), 40)


class LogprobsTest(StoriesCase):

    def test_logprobs_are_those_of_the_logits(self):
        tokens = 6
        out = self.generate_one("--logprobs", 5, "--max-tokens", tokens, *F32)
        text = [1, *out["token_ids"][:-1]]
        lines = self.lines_of("logits", "-m", self.model, "--prompt-tokens", commas(text), *F32)
        self.assertEqual(len(out["logprobs"]), tokens)
        for token, entry, line in zip(out["token_ids"], out["logprobs"], lines):
            self.assertEqual(list(entry), ["id", "token", "logprob", "top"])
            self.assertEqual(entry["id"], token)
            self.assertEqual(entry["top"][0], {k: entry[k] for k in ("id", "token", "logprob")})
            self.assertEqual([t["id"] for t in entry["top"]], [i for i, _ in line["top"][:5]])
            for top, (_, logit) in zip(entry["top"], line["top"]):
                self.assertEqual(list(top), ["id", "token", "logprob"])
                self.assertAlmostEqual(top["logprob"], logit - line["logsumexp"], delta=1e-4)

    def test_logprobs_0_gives_the_chosen_token_alone(self):
        out = self.generate_one("--logprobs", 0, "--max-tokens", 3)
        self.assertEqual([entry["top"] for entry in out["logprobs"]], [[], [], []])


class StopTest(StoriesCase):

    def text_and_pieces(self):
        """The greedy text of 40 tokens and the text of each token."""
        ids = self.greedy[:40]
        answers = self.tokenize(self.model, [{"ids": [1, i]} for i in ids])
        text = self.generate_one("--max-tokens", 40, *F32)["text"]
        return text, [a["text_skip_special"] for a in answers]

    def test_stop_string_across_token_boundaries_ends_the_text_before_it(self):
        text, pieces = self.text_and_pieces()
        stop = "e girl n"  # of "little girl named": begins and ends inside a token
        self.assertIn(stop, text)
        self.assertFalse(any(stop.strip() in piece for piece in pieces))
        out = self.generate_one("--max-tokens", 40, "--stop", stop, "--stop", "never", *F32)
        self.assertEqual(out["text"], text[:text.index(stop)])
        self.assertEqual(out["finish_reason"], "stop")
        self.assertEqual(out["token_ids"], self.greedy[:len(out["token_ids"])])
        self.assertLess(len(out["token_ids"]), 40)
        streamed = self.text_of("generate", "-m", self.model, "--prompt-tokens", 1,
                                "--max-tokens", 40, "--stop", stop, *F32)
        self.assertEqual(streamed, out["text"] + "\n")

    def test_beginning_of_a_stop_string_that_does_not_come_is_not_lost(self):
        text, _ = self.text_and_pieces()
        out = self.generate_one("--max-tokens", 40, "--stop", text[-4:] + "never", *F32)
        self.assertEqual((out["text"], out["finish_reason"]), (text, "length"))

    def test_token_ids_include_the_stop_id_and_text_does_not(self):
        out = self.generate_one("--logit-bias", f"{EOS}=100")
        self.assertEqual((out["token_ids"], out["text"]), ([EOS], ""))
        self.assertEqual(out["finish_reason"], "stop")
        self.assertEqual(out["stats"]["completion_tokens"], 1)

    def test_stop_token_ids_end_the_text(self):
        third = self.greedy[2]
        out = self.generate_one("--stop-token-ids", third, *F32)
        self.assertEqual(out["token_ids"], self.greedy[:3])
        self.assertEqual(out["finish_reason"], "stop")

    def test_ignore_eos_goes_on_past_stop_ids_and_leaves_the_logits(self):
        out = self.generate_one("--logit-bias", f"{EOS}=100", "--ignore-eos", "--max-tokens", 5)
        self.assertEqual(out["token_ids"], [EOS] * 5)
        self.assertEqual(out["finish_reason"], "length")

    def test_min_tokens_keeps_stop_ids_away_until_then(self):
        out = self.generate_one("--logit-bias", f"{EOS}=100", "--min-tokens", 3)
        self.assertEqual(out["token_ids"].index(EOS), 3)
        self.assertEqual(len(out["token_ids"]), 4)
        self.assertEqual(out["finish_reason"], "stop")

    def test_text_that_fills_the_context_ends_with_length(self):
        context = read_json(f"{self.model}/config.json")["max_position_embeddings"]
        prompt = commas([1, *self.greedy, *self.greedy][:context - 2])
        out = self.generate_one("--ignore-eos", prompt=prompt)
        self.assertEqual(len(out["token_ids"]), 3)  # the last is never read
        self.assertEqual(out["finish_reason"], "length")


class OtherCommandsTest(StoriesCase):

    def test_logits_gives_the_20_largest_and_every_logit_with_all(self):
        options = ("logits", "-m", self.model, "--prompt-tokens", "1,403,407")
        lines = self.lines_of(*options)
        self.assertEqual([list(line) for line in lines], [["position", "top", "logsumexp"]] * 3)
        self.assertEqual([line["position"] for line in lines], [0, 1, 2])
        self.assertEqual([len(line["top"]) for line in lines], [20] * 3)
        for line, full in zip(lines, self.lines_of(*options, "--all")):
            self.assertEqual(list(full), ["position", "top", "logsumexp", "logits"])
            logits = full.pop("logits")
            self.assertEqual((full, len(logits)), (line, 512))
            self.assertAlmostEqual(math.log(math.fsum(map(math.exp, logits))), line["logsumexp"],
                                   delta=1e-6)

    def test_perplexity_is_exp_of_the_mean_over_all_tokens_but_the_first(self):
        ids = self.greedy[:30]
        path = self.temp_dir() / "tokens.json"
        path.write_text(json.dumps({"tokens": ids}))
        out = self.object_of("perplexity", "-m", self.model, "--tokens", path)
        self.assertEqual(list(out), ["tokens", "perplexity"])
        self.assertEqual(out["tokens"], 30)
        lines = self.lines_of("logits", "-m", self.model, "--all", "--prompt-tokens", commas(ids))
        loss = [line["logsumexp"] - line["logits"][i] for line, i in zip(lines, ids[1:])]
        self.assertAlmostEqual(math.log(out["perplexity"]), math.fsum(loss) / 29, delta=1e-5)

    def test_tokenize_answers_each_line_in_order(self):
        requests = [{"text": "Lily"}, {"bytes_b64": "TGlseQ=="}, {"ids": [403, 407]},
                    {"text": ""}, {"ids": []}]
        answers = self.tokenize(self.model, requests)
        self.assertEqual([list(a) for a in answers],
                         [["ids"], ["ids"], ["text", "text_skip_special"], ["ids"],
                          ["text", "text_skip_special"]])
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[2]["text"].strip(), "Once upon")
        self.assertEqual(answers[3:], [{"ids": []}, {"text": "", "text_skip_special": ""}])

    def test_look_shows_what_came_and_what_was_expected(self):
        options = ("look", "-m", self.model, "Once upon a time")
        lines = self.lines_of(*options, "--json", "--top", 4)
        before = None
        for at, line in enumerate(lines):
            self.assertEqual(list(line), ["position", "id", "piece", "probability", "next"])
            self.assertEqual(line["position"], at)
            self.assertEqual(len(line["next"]), 4)
            self.assertEqual([list(n) for n in line["next"]], [["id", "piece", "probability"]] * 4)
            self.assertEqual(line["probability"] is None, at == 0)
            for guess in before["next"] if before else []:
                if guess["id"] == line["id"]:
                    self.assertAlmostEqual(guess["probability"], line["probability"], delta=1e-9)
            before = line
        self.assertEqual("".join(line["piece"] for line in lines).strip(), "Once upon a time")
        table = self.text_of(*options).split("\n")
        self.assertEqual(len(table), len(lines) + 2)  # a title, and the end of the last line
        for line, row in zip(lines, table[1:]):
            self.assertRegex(row, rf"^ *{line['position']} +{line['id']} ")

    def test_bench_speed_gives_both_speeds(self):
        out = self.object_of("bench", "speed", "-m", self.model, "--prompt-tokens", 40,
                             "--streams", 3, "--tokens", 5, "--json")
        self.assertEqual((out["prompt_tokens"], out["streams"], out["tokens"]), (40, 3, 5))
        self.assertGreater(out["prefill_tokens_per_s"], 0)
        self.assertGreater(out["decode_tokens_per_s"], 0)

    def test_bench_kv_cache_gives_both_times_and_their_ratio(self):
        out = self.object_of("bench", "kv-cache", "-m", self.model, "--tokens", 20, "--json")
        self.assertEqual(list(out), ["tokens", "with_cache_s", "recomputing_s", "ratio"])
        self.assertAlmostEqual(out["ratio"] * out["with_cache_s"] / out["recomputing_s"], 1,
                               delta=1e-6)

    def test_bench_machine_gives_each_figure_and_its_instructions(self):
        out = self.object_of("bench", "machine", "--threads", 2, "--json")
        self.assertEqual(list(out), ["threads", "read_bytes_per_s", "f32_macs_per_s",
                                     "int8_macs_per_s", "bf16_macs_per_s", "instructions"])
        self.assertEqual(out["threads"], 2)
        self.assertEqual(list(out["instructions"]), ["read", "f32", "int8", "bf16"])
        for kind, key in zip(out["instructions"], list(out)[1:]):
            if kind == "bf16" and out[key] is None:
                self.assertIsNone(out["instructions"][kind])
                continue
            self.assertGreater(out[key], 0, key)
            self.assertTrue(out["instructions"][kind], kind)

    def test_bench_machine_shows_one_thread_and_all(self):
        title, *rows = self.text_of("bench", "machine", "--threads", 2).splitlines()
        self.assertEqual(title.split(), ["threads", "at", "most", "with"])
        for row, (kind, threads) in zip(rows[:6], itertools.product(
                ("read GB/s", "f32 GMAC/s", "int8 GMAC/s"), (1, 2)), strict=True):
            self.assertRegex(row, rf"^{kind} +{threads} +\d+\.\d  \w")
        for row in rows[6:]:
            self.assertTrue(row.startswith("bf16 GMAC/s "), row)

    def test_help_and_version_succeed(self):
        self.assertRegex(self.text_of("--version"), r"^catena \d+\.\d+")
        for command in ("generate", "chat", "look", "inspect", "plan", "tokenize", "logits",
                        "perplexity", "bench"):
            self.assertIn(command, self.text_of("--help"))
            self.assertIn("Usage", self.text_of(command, "--help"))


class WithoutTokenizerTest(CatenaTest):
    """Commands that take ids need no tokenizer files."""

    def setUp(self):
        self.model = self.shared("golden/phi3-window")

    def test_generate_gives_ids_and_an_empty_text(self):
        out = self.object_of("generate", "-m", self.model, "--prompt-tokens", "1,2", "--json",
                             "--logprobs", 1, "--max-tokens", 4, "--ignore-eos")
        self.assertEqual((out["text"], len(out["token_ids"])), ("", 4))
        self.assertEqual(len(out["logprobs"]), 4)

    def test_logits_look_and_perplexity_work(self):
        path = self.temp_dir() / "tokens.json"
        path.write_text('{"tokens": [1, 2, 3]}')
        self.assertEqual(self.object_of("perplexity", "-m", self.model, "--tokens", path)["tokens"],
                         3)
        for command in ("logits", "look"):
            self.text_of(command, "-m", self.model, "--prompt-tokens", "1,2")
        self.lines_of("look", "-m", self.model, "--prompt-tokens", "1,2", "--json")


class RandomWeightsTest(CatenaTest):

    def logits(self, config, *options):
        return self.text_of("logits", "-m", config, "--prompt-tokens", "1,2,3", "--all", *options)

    def test_each_format_gives_the_same_bits_again_and_under_every_cut(self):
        config = self.shared("golden/phi3-window/config.json")
        seen = set()
        for name in ALL_FORMATS:
            options = ("--weights", "random:1", "--weight-format", name)
            want = self.logits(config, *options)
            self.assertTrue(self.logits(config, *options) == want, name)
            self.assertTrue(self.logits(config, *options, "--stages", 4) == want, name)
            other = self.logits(config, "--weights", "random:2", "--weight-format", name)
            self.assertTrue(other != want, name)
            seen.add(want)
        self.assertEqual(len(seen), len(ALL_FORMATS))

    def test_model_may_be_the_config_or_its_folder(self):
        folder = self.temp_dir()
        config = self.shared("golden/llama3-rope/config.json")
        shutil.copyfile(config, folder / "config.json")
        options = ("--weights", "random:1")
        self.assertEqual(self.logits(config, *options), self.logits(folder, *options))

    def test_rows_that_are_no_whole_blocks_work_in_the_float_formats(self):
        config = self.shared("stories260k-phi3/config.json")
        for name in ("bf16", "f16", "f32"):
            out = self.object_of("generate", "-m", config, "--weights", "random:1", "--json",
                                 "--weight-format", name, "--prompt-tokens", "1", "--ignore-eos",
                                 "--max-tokens", 5)
            self.assertEqual(len(out["token_ids"]), 5, name)


class StructureTest(CatenaTest):

    def test_inspect_shows_phi3_mini_as_its_authors_print_it(self):
        config = self.shared("phi3/config.json")
        text = self.text_of("inspect", config)
        for line in ("(embed_tokens): Embedding(32064, 3072)", "(0-31): 32 x Phi3DecoderLayer(",
                     "(qkv_proj): Linear(in_features=3072, out_features=9216, bias=False)",
                     "(gate_up_proj): Linear(in_features=3072, out_features=16384, bias=False)",
                     "(down_proj): Linear(in_features=8192, out_features=3072, bias=False)",
                     "(lm_head): Linear(in_features=3072, out_features=32064, bias=False)"):
            self.assertIn(line, text)
        self.assertRegex(text, r"\b32 blocks\b")

    def test_inspect_json_has_the_sizes_of_phi3_mini(self):
        out = self.object_of("inspect", self.shared("phi3/config.json"), "--json")
        part = {"parameters": int, "bytes": int, "dtypes": str}
        for name in ("embedding", "block", "head"):
            self.assertEqual({k: type(v) for k, v in out.pop(name).items()}, part, name)
        self.assertEqual(out, {
            "architecture": "phi3", "vocab_size": 32064, "hidden_size": 3072,
            "intermediate_size": 8192, "n_layers": 32, "n_heads": 32, "n_kv_heads": 32,
            "head_dim": 96, "context_length": 4096, "sliding_window": 2047,
            "tied_embeddings": False, "kv_bytes_per_token": 384 * 1024})

    def test_inspect_reads_a_gguf_file(self):
        out = self.object_of("inspect", self.smollm2(), "--json")
        self.assertEqual([out[k] for k in ("architecture", "n_layers", "hidden_size",
                                           "vocab_size", "context_length", "tied_embeddings")],
                         ["llama", 30, 576, 49152, 8192, True])
        self.assertIn("(0-29): 30 x LlamaDecoderLayer(", self.text_of("inspect", self.smollm2()))

    def test_plan_tiles_the_blocks_evenly_and_names_the_head(self):
        config = self.shared("phi3/config.json")
        for stages in (1, 2, 3, 5, 31, 32):
            plan = self.object_of("plan", config, "--stages", stages, "--json")
            self.assertEqual(list(plan), ["layers", "stages"])
            self.assertEqual([s["role"] for s in plan["stages"]], ["shard"] * stages + ["head"])
            for stage in plan["stages"]:
                self.assertEqual(list(stage), ["role", "layers", "bytes", "read_bytes_per_token"])
                self.assertGreater(stage["bytes"], 0)
            cuts = [s["layers"] for s in plan["stages"][:-1]]
            self.assertEqual(plan["layers"], ",".join(cuts))
            ranges = [tuple(map(int, cut.split("-"))) for cut in cuts]
            self.assertEqual([a for a, _ in ranges], [0] + [b for _, b in ranges[:-1]])
            self.assertEqual(ranges[-1][1], 32)
            sizes = [b - a for a, b in ranges]
            self.assertLessEqual(max(sizes) - min(sizes), 1)

    def test_plan_holds_all_bytes_of_the_model(self):
        config = self.shared("phi3/config.json")
        sizes = self.object_of("inspect", config, "--json")
        total = sizes["embedding"]["bytes"] + 32 * sizes["block"]["bytes"] + sizes["head"]["bytes"]
        plan = self.object_of("plan", config, "--stages", 3, "--json")
        self.assertEqual(sum(s["bytes"] for s in plan["stages"]), total)

    def test_layers_that_plan_prints_run_the_model(self):
        model = self.shared("stories260k-phi3")
        text = self.text_of("plan", model, "--stages", "3")
        options = re.search(r"^(--layers) (\S+)$", text, re.MULTILINE).groups()
        command = ("generate", "-m", model, "--prompt", "Once", "--max-tokens", 5)
        self.assertEqual(self.text_of(*command, *options), self.text_of(*command))


class ChatTest(CatenaTest):

    def test_each_answer_is_that_of_the_whole_conversation_computed_anew(self):
        model = self.smollm2()
        turns = ["Hi, my name is Ann.", "What is the capital of France?"]
        options = ("--max-tokens", 24)
        shown = self.text_of("chat", "-m", model, *options, stdin="".join(t + "\n" for t in turns))
        messages, want = [], ""
        for turn in turns:
            messages.append({"role": "user", "content": turn})
            (prompt,) = self.tokenize(model, [{"messages": messages,
                                               "add_generation_prompt": True}])
            out = self.object_of("generate", "-m", model, "--json", *options, "--prompt-tokens",
                                 commas(prompt["ids"]))
            messages.append({"role": "assistant", "content": out["text"]})
            want += out["text"] + "\n"
        self.assertEqual(shown, want)
        self.assertIn("Paris", shown)

    def test_last_line_without_an_end_is_answered_too(self):
        model = self.smollm2()
        options = ("--max-tokens", 4)
        self.assertEqual(self.text_of("chat", "-m", model, *options, stdin="Hi"),
                         self.text_of("generate", "-m", model, *options, "--prompt", "Hi",
                                      "--chat"))


if __name__ == "__main__":
    unittest.main()
