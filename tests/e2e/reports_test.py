"""Small inputs made after public bug reports of this kind of software (../shared/reports), each a
kind of fault, and siblings of each that the test writes."""

import json
import os
import pathlib
import struct
import unittest

from catena import F32, CatenaTest, commas, read_json, steps_above
from cluster import Cluster
from gguf_file import GgufFile

PROMPT = "5,9,33"
LFS_POINTER = ("version https://git-lfs.github.com/spec/v1\n"
               "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
               "size 5368709120\n")
LOGIT_TOLERANCE = 1e-3


class ReportsCase(CatenaTest):

    def report(self, name):
        return self.shared(f"reports/{name}")

    def run_loudly(self, *args, stdin=b""):
        """(JSON lines, warnings) of a command that must succeed."""
        done = self.run_bytes(*args, stdin=stdin)
        errors = done.stderr.decode()
        self.assertEqual(done.returncode, 0, errors)
        lines = [line for line in errors.split("\n") if line]
        for line in lines:
            self.assertRegex(line, r"\Acatena: warning: .{20,}")
        return [json.loads(line) for line in done.stdout.decode().split("\n") if line], lines

    def logits(self, model, prompt=PROMPT):
        return self.run_loudly("logits", "-m", model, "--prompt-tokens", prompt, "--all", *F32)

    def assert_same_logits(self, model, reference, *warnings):
        """`model` gives `reference`'s logits, and warnings that hold `warnings`, one each."""
        lines, said = self.logits(model)
        want, _ = self.logits(reference)
        self.assertEqual(lines, want)
        self.assertEqual(len(said), len(warnings), said)
        for line, part in zip(said, warnings):
            self.assertIn(part, line)

    def assert_refused(self, args, *parts):
        done = self.run_bytes(*args)
        line = done.stderr.decode()
        self.assertGreater(done.returncode, 0, line)
        self.assertRegex(line, r"\Acatena: [^\n]{10,}\n\Z")
        for part in parts:
            self.assertIn(part, line)

    def generate(self, model, *options):
        """`model`: a path, or options that say where it runs."""
        where = model if isinstance(model, tuple) else ("-m", model)
        lines, _ = self.run_loudly("generate", *where, "--json", *options)
        self.assertEqual(len(lines), 1)
        return lines[0]

    def tokenize(self, model, requests):
        stdin = "".join(json.dumps(r) + "\n" for r in requests).encode()
        answers, _ = self.run_loudly("tokenize", "-m", model, stdin=stdin)
        self.assertEqual(len(answers), len(requests))
        return answers

    def folder(self, source, **files):
        """A copy of a report's folder with files (text, or a dict that is merged into the JSON)."""
        to = self.temp_dir()
        for path in pathlib.Path(self.report(source)).iterdir():
            (to / path.name).write_bytes(path.read_bytes())
        for name, content in files.items():
            path = to / name.replace("__", ".")
            if isinstance(content, dict):
                old = read_json(path) if path.exists() else {}
                content = json.dumps({k: v for k, v in {**old, **content}.items() if v is not ...})
            path.write_text(content, encoding="utf-8")
        return to


class EndTokensTest(ReportsCase):

    def test_an_end_token_is_never_shown_whatever_its_type(self):
        for name in ("F03-phi3-stop-user-defined.gguf", "F03b-phi3-stop-normal.gguf"):
            out = self.generate(self.report(name), "--prompt", "Hi", "--logit-bias", "503=100")
            self.assertEqual((out["token_ids"], out["text"], out["finish_reason"]),
                             ([503], "", "stop"), name)
            out = self.generate(self.report(name), "--prompt", "Hi", "--logit-bias", "503=100",
                                "--ignore-eos", "--max-tokens", 3)
            self.assertEqual((out["token_ids"], out["text"]), ([503] * 3, ""), name)

    def test_an_end_token_in_a_prompt_is_one_token_whatever_its_type(self):
        for name in ("F03-phi3-stop-user-defined.gguf", "F03b-phi3-stop-normal.gguf"):
            ids = self.tokenize(self.report(name), [{"text": "!<|end|>!"}])[0]["ids"]
            self.assertEqual(ids, [0, 503, 0], name)

    def test_every_end_of_turn_that_peers_know_ends_one(self):
        out = self.generate(self.report("F04b-phi3-im_end.gguf"), "--prompt", "Hi",
                            "--logit-bias", "502=100")
        self.assertEqual((out["token_ids"], out["text"], out["finish_reason"]), ([502], "", "stop"))

    def test_the_same_of_every_name_and_type_on_both_architectures(self):
        names = ("<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<EOT>", "_<EOT>",
                 "<｜end▁of▁sentence｜>", "<|end_of_text|>", "[EOS]")
        for source in ("F04b-phi3-im_end.gguf", "F18-pre-falcon3.gguf"):
            for i, name in enumerate(names):
                file = GgufFile(self.report(source))
                file.values["tokenizer.ggml.tokens"][502] = name.encode()
                file.values["tokenizer.ggml.token_type"][502] = (1, 3, 4)[i % 3]
                file.values["tokenizer.ggml.eos_token_id"] = 500
                path = file.write(self.temp_dir() / "m.gguf")
                out = self.generate(path, "--prompt", "Hi", "--logit-bias", "502=100")
                self.assertEqual((out["token_ids"], out["text"], out["finish_reason"]),
                                 ([502], "", "stop"), f"{source} {name}")

    def test_the_same_in_a_hugging_face_folder(self):
        def of(special, **files):
            to = self.folder("F11-special_tokens_map", **files)
            path = to / "tokenizer.json"
            text = read_json(path)
            for token in text["added_tokens"]:
                token["special"] = special
            path.write_text(json.dumps(text))
            return to
        for special in (True, False):
            for token in (500, 502, 503):  # known by name; 502 is eos_token_id as well
                out = self.generate(of(special), "--prompt", "Hi", "--logit-bias", f"{token}=100")
                self.assertEqual((out["token_ids"], out["text"], out["finish_reason"]),
                                 ([token], "", "stop"), f"{token} {special}")
        # Named by one of the files alone.
        for files in ({"config__json": {"eos_token_id": [502, 506]}},
                      {"generation_config__json": {"eos_token_id": 506}},
                      {"tokenizer_config__json": {"eos_token": "<|system|>",
                                                  "added_tokens_decoder": {}}},
                      {"special_tokens_map__json": {"eos_token": {"content": "<|system|>"}}}):
            out = self.generate(of(False, **files), "--prompt", "Hi", "--logit-bias", "506=100")
            self.assertEqual((out["token_ids"], out["text"], out["finish_reason"]),
                             ([506], "", "stop"), files)


class IdsTest(ReportsCase):

    def test_an_id_outside_the_vocabulary_is_left_out_with_a_warning(self):
        model = self.report("F06b-generation-eos-outside-vocab")
        lines, said = self.logits(model)
        self.assertEqual(len(lines), 3)
        self.assertEqual(len(said), 1)
        self.assertIn("generation_config.json", said[0])
        self.assertIn("512", said[0])

    def test_the_same_of_every_special_id_in_every_file(self):
        plain = self.folder("F06b-generation-eos-outside-vocab", generation_config__json="{}")
        for files, warnings in (
                ({"config__json": {"eos_token_id": 512}}, ["eos_token_id"]),
                ({"config__json": {"bos_token_id": 100000}}, ["bos_token_id"]),
                ({"config__json": {"eos_token_id": [2, 1 << 63, 512]}}, ["eos_token_id"] * 2),
                ({"config__json": {"eos_token_id": -1, "bos_token_id": None}}, []),
                ({"config__json": {"pad_token_id": 99999}}, []),
                ({"generation_config__json": '{"eos_token_id": [2.0, 512.0]}'}, ["512.0"])):
            files = {"generation_config__json": "{}", **files}
            model = self.folder("F06b-generation-eos-outside-vocab", **files)
            self.assert_same_logits(model, plain, *warnings)

    def test_the_same_of_a_gguf_file(self):
        plain = self.report("ok-plain.gguf")
        for key in ("bos", "eos", "eot", "eom"):
            for value, warnings in ((99999, [f"{key}_token_id"]), (0xFFFFFFFF, [])):
                file = GgufFile(plain)
                file.set_u32(f"tokenizer.ggml.{key}_token_id", value)
                self.assert_same_logits(file.write(self.temp_dir() / "m.gguf"), plain, *warnings)


class ConfigTest(ReportsCase):

    def test_an_absent_key_has_its_default(self):
        explicit = self.folder("F10-config-defaults", config__json={
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-6})
        self.assert_same_logits(self.report("F10-config-defaults"), explicit)

    def test_the_same_of_other_keys_and_of_null(self):
        explicit = self.folder("F10-config-defaults", config__json={
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-6})
        for changes in ({"rope_theta": ...}, {"hidden_act": ...}, {"bos_token_id": ...},
                        {"eos_token_id": ..., "bos_token_id": None}, {"head_dim": ...},
                        {"head_dim": None, "rope_scaling": None, "rope_theta": None},
                        {"model_type": ...}, {"architectures": ...}, {"hidden_size": 32.0},
                        {"torch_dtype": "float32", "sliding_window": None}):
            self.assert_same_logits(self.folder("F10-config-defaults", config__json=changes),
                                    explicit)

    def test_more_blocks_in_the_file_than_in_the_config_are_refused(self):
        model = self.folder("F10-config-defaults", config__json={"num_hidden_layers": 1})
        self.assert_refused(("logits", "-m", model, "--prompt-tokens", PROMPT),
                            "1 blocks", "model.layers.1.")
        file = GgufFile(self.shared("kquants/llama-q6_k.gguf"))
        file.values["llama.block_count"] = 3
        path = file.write(self.temp_dir() / "m.gguf")
        self.assert_refused(("logits", "-m", path, "--prompt-tokens", PROMPT),
                            "m.gguf", "3 blocks", "blk.3.")


class WeightsTest(ReportsCase):

    def test_an_index_entry_that_nobody_needs_is_no_fault(self):
        lines, said = self.logits(self.report("F08-index-stale-lm_head"))
        self.assertEqual((len(lines), said), (3, []))

    def test_a_shard_that_nobody_needs_may_be_missing(self):
        model = self.folder("F08-index-stale-lm_head")
        path = model / "model.safetensors.index.json"
        index = read_json(path)
        index["weight_map"]["vision.weight"] = "model-00002-of-00002.safetensors"
        path.write_text(json.dumps(index))
        self.assert_same_logits(model, self.report("F08-index-stale-lm_head"))
        index["weight_map"]["model.norm.weight"] = "model-00002-of-00002.safetensors"
        index["weight_map"]["model.layers.7.x"] = "model-00003-of-00002.safetensors"
        path.write_text(json.dumps(index))  # it is in the other file all the same
        self.assert_same_logits(model, self.report("F08-index-stale-lm_head"))

    def test_a_shard_that_is_needed_is_named(self):
        model = self.folder("F08-index-stale-lm_head", config__json={"tie_word_embeddings": False})
        path = model / "model.safetensors.index.json"
        index = read_json(path)
        index["weight_map"]["lm_head.weight"] = "model-00002-of-00002.safetensors"
        path.write_text(json.dumps(index))
        self.assert_refused(("logits", "-m", model, "--prompt-tokens", PROMPT),
                            "lm_head.weight", "model-00002-of-00002.safetensors", "fetch it")

    def test_a_head_of_its_own_is_used_though_the_config_ties_it(self):
        tied = self.report("F13-tied-but-own-head")
        untied = self.folder("F13-tied-but-own-head", config__json={"tie_word_embeddings": False})
        self.assert_same_logits(tied, untied, "lm_head.weight")

    def test_tensors_without_values_and_scalars_load(self):
        plain = self.report("ok-plain.gguf")
        for name in ("F15-zero-size-tensor.gguf", "F15b-scalar-tensor.gguf"):
            self.assert_same_logits(self.report(name), plain)

    def test_the_same_of_safetensors(self):
        plain = self.report("F10-config-defaults")
        model = self.folder("F10-config-defaults")
        path = model / "model.safetensors"
        whole = path.read_bytes()
        (size,) = struct.unpack_from("<Q", whole)
        header = json.loads(whole[8:8 + size])
        end = len(whole) - 8 - size
        header["marker.empty"] = {"dtype": "F32", "shape": [0, 7], "data_offsets": [end, end]}
        header["marker.scalar"] = {"dtype": "I64", "shape": [], "data_offsets": [end, end + 8]}
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + size:] + b"\0" * 8)
        self.assert_same_logits(model, plain)

    def test_a_file_whose_head_is_q6_k_loads(self):
        lines, said = self.logits(self.report("F17-q4_0-with-q6_K-head.gguf"))
        self.assertEqual((len(lines), said), (3, []))

    def test_q6_k_gives_the_logits_of_its_reference_dequantisation(self):
        model = self.shared("kquants/llama-q6_k.gguf")
        for case in read_json(self.shared("kquants/llama-q6_k.json"))["cases"]:
            lines, _ = self.logits(model, commas(case["prompt"]))
            for line, top, total in zip(lines, case["top"], case["logsumexp"]):
                self.assertAlmostEqual(line["logsumexp"], total, delta=LOGIT_TOLERANCE)
                for token, value in top:
                    self.assertAlmostEqual(line["logits"][token], value, delta=LOGIT_TOLERANCE)
            out = self.generate(model, "--prompt-tokens", commas(case["prompt"]), "--ignore-eos",
                                "--max-tokens", len(case["greedy"]), *F32)
            sure = steps_above(case["greedy_margin"], LOGIT_TOLERANCE)
            self.assertEqual(out["token_ids"][:sure], case["greedy"][:sure])

    def test_a_git_lfs_pointer_is_named_in_every_place(self):
        self.assert_refused(("logits", "-m", self.report("F25-lfs-pointer"), "--prompt-tokens",
                             PROMPT), "model.safetensors", "git lfs")
        for name in ("config.json", "generation_config.json", "tokenizer.json",
                     "tokenizer_config.json", "special_tokens_map.json", "model.safetensors"):
            model = self.folder("F11-special_tokens_map")
            (model / name).write_text(LFS_POINTER)
            self.assert_refused(("generate", "-m", model, "-p", "Hi"), name, "git lfs")
        model = self.folder("F08-index-stale-lm_head")
        for name in ("model-00001-of-00001.safetensors", "model.safetensors.index.json"):
            (model / name).write_text(LFS_POINTER)
            self.assert_refused(("logits", "-m", model, "--prompt-tokens", PROMPT), name, "git lfs")
        path = self.temp_dir() / "m.gguf"
        path.write_text(LFS_POINTER)
        self.assert_refused(("logits", "-m", path, "--prompt-tokens", PROMPT), "m.gguf", "git lfs")


class TextTest(ReportsCase):

    def test_bos_comes_from_special_tokens_map(self):
        request = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}
        answer = self.tokenize(self.report("F11-special_tokens_map"), [request])[0]
        self.assertTrue(answer["rendered"].startswith("<|endoftext|><|user|>\n"), answer)
        self.assertEqual(answer["ids"][:2], [500, 504])
        for files, first in (
                ({"special_tokens_map__json": {"bos_token": {"content": "<|im_start|>"}}}, 501),
                ({"tokenizer_config__json": {"bos_token": "<|im_start|>",
                                             "added_tokens_decoder": {}}}, 501),
                ({"tokenizer_config__json": {"bos_token": "<|im_start|>"}}, 500),
                ({"special_tokens_map__json": {"bos_token": None},
                  "tokenizer_config__json": {"bos_token": {"content": "<|im_start|>"}}}, 501)):
            model = self.folder("F11-special_tokens_map", **files)
            self.assertEqual(self.tokenize(model, [request])[0]["ids"][0], first, files)

    def test_the_llama_3_pattern_under_its_other_names(self):
        source = self.report("F18-pre-falcon3.gguf")
        texts = [{"text": text} for text in ("It's 12345 o'clock\n\n  I'LL go", "abc", " 1234")]
        reference = GgufFile(source)
        reference.values["tokenizer.ggml.pre"] = b"llama-bpe"
        want = self.tokenize(reference.write(self.temp_dir() / "m.gguf"), texts)
        self.assertEqual(self.tokenize(source, texts), want)
        for name in ("pixtral", "dbrx", "smaug-bpe", "midm-2.0", "lfm2", "falcon-h1", "glm4"):
            file = GgufFile(source)
            file.values["tokenizer.ggml.pre"] = name.encode()
            answers = self.tokenize(file.write(self.temp_dir() / "m.gguf"), texts)
            self.assertEqual(answers, want, name)

    def test_an_answer_that_was_begun_goes_on(self):
        model = self.report("F03-phi3-stop-user-defined.gguf")
        messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "So "}]
        begun, closed = self.tokenize(model, [
            {"messages": messages, "continue_final_message": True}, {"messages": messages}])
        self.assertEqual(begun["rendered"], "<|user|>\nHi<|end|>\n<|assistant|>\nSo ")
        self.assertTrue(closed["rendered"].startswith(begun["rendered"] + "<|end|>"))
        want = self.generate(model, "--prompt-tokens", commas(begun["ids"]), "--max-tokens", 5)
        got = self.generate(model, "--chat", "-p", "Hi", "--continue", "So ", "--max-tokens", 5)
        self.assertEqual(got["token_ids"], want["token_ids"])
        text = self.text_of("chat", "-m", model, "--continue", "So ", "--max-tokens", 5,
                            stdin="Hi\n")
        self.assertTrue(text.startswith("So " + got["text"]), text)
        for request in ({"messages": messages[:1], "continue_final_message": True},
                        {"messages": messages, "continue_final_message": True,
                         "add_generation_prompt": True}):
            done = self.run_bytes("tokenize", "-m", model, stdin=json.dumps(request).encode())
            self.assertGreater(done.returncode, 0)
            self.assertIn(b"last message", done.stderr)
        self.assert_refused(("generate", "-m", model, "-p", "x", "--continue", "y"), "--chat")


class NumbersTest(ReportsCase):

    def seed_of(self, *options):
        return self.generate(self.report("ok-plain.gguf"), "--prompt-tokens", PROMPT,
                             "--max-tokens", 1, *options)["seed"]

    def test_a_seed_is_a_number_below_2_64_or_drawn(self):
        self.assertEqual(self.seed_of("--seed", 18446744073709551615), 18446744073709551615)
        self.assertEqual(self.seed_of("--seed", 0), 0)
        drawn = {self.seed_of("--seed", "-1"), self.seed_of("--seed=-1"), self.seed_of()}
        self.assertEqual(len(drawn), 3)
        self.assertTrue(all(seed < 1 << 53 for seed in drawn), drawn)
        for bad in ("18446744073709551616", "-2", "1.5", "1e3", "0x10", " 1", "1 ", "seed", "+1"):
            self.assert_refused(("generate", "-m", self.report("ok-plain.gguf"), "--prompt-tokens",
                                 PROMPT, "--seed", bad), "--seed", "18446744073709551615")

    def test_every_number_is_whole_and_in_range(self):
        generate = ("generate", "-m", self.report("ok-plain.gguf"), "--prompt-tokens", PROMPT)
        for option in ("--max-tokens", "--top-k", "--n", "--logprobs", "--min-tokens", "--threads",
                       "--batch", "--stages", "--stop-token-ids", "--speculate"):
            for bad in ("2147483648", "99999999999999999999", "-2147483649", "1x", "0x1", "010",
                        "1.0", " 1", "1 ", "1e0"):
                self.assert_refused((*generate, option, bad), option, "whole number")
        for option in ("--temperature", "--top-p", "--min-p", "--typical-p", "--repetition-penalty",
                       "--presence-penalty", "--frequency-penalty"):
            for bad in ("1x", "0x1p1", "nan", "inf", "1e999", " 1", "1,5"):
                self.assert_refused((*generate, option, bad), option, "number")
        for args in (("chat", "-m", self.report("ok-plain.gguf"), "--context",
                      "9223372036854775808"),
                     ("bench", "speed", "-m", self.report("ok-plain.gguf"), "--tokens", "1e2"),
                     ("look", "-m", self.report("ok-plain.gguf"), "x", "--top", "3x"),
                     ("bench", "serve", "--gateway", "127.0.0.1:1", "--seed", "-1"),
                     ("gateway", "--max-waiting", "99999999999999999999")):
            self.assert_refused(args, args[-2], "whole number")


class ClusterTest(ReportsCase):
    """One process and a cluster agree."""

    def test_a_prompt_that_is_not_utf8_is_answered_alike(self):
        model = self.report("F03-phi3-stop-user-defined.gguf")
        prompt = os.fsdecode(pathlib.Path(self.report("F23-chat-prompt.bin")).read_bytes())
        cut, surrogate, stop = (os.fsdecode(b) for b in (b"a\xc3", b"\xed\xa0\x80", b"x\xff "))
        with Cluster(self, model, "--stages", 1) as cluster:
            for options in (("--prompt", prompt), ("--prompt", cut, "--system", surrogate),
                            ("--prompt", prompt, "--continue", stop),
                            ("--prompt", "ok", "--stop", stop)):
                both = [self.generate(where, "--chat", "--max-tokens", 8, *options)
                        for where in (("-m", model), ("--gateway", cluster.gateway))]
                for key in ("token_ids", "text", "finish_reason"):
                    self.assertEqual(both[0][key], both[1][key], options)

    def test_an_answer_that_was_begun_goes_on(self):
        model = self.report("F03-phi3-stop-user-defined.gguf")
        options = ("--chat", "-p", "Hi", "--continue", "So ", "--max-tokens", 5)
        alone = self.generate(("-m", model), *options)
        with Cluster(self, model, "--stages", 1) as cluster:
            through = self.generate(("--gateway", cluster.gateway), *options)
        self.assertEqual(through["token_ids"], alone["token_ids"])


if __name__ == "__main__":
    unittest.main()
