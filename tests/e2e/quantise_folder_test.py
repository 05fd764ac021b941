"""`catena quantise` of Hugging Face folders: the file that it writes is the same model."""

import json
import math
import pathlib
import resource
import shutil
import struct
import unittest

from catena import F32, GOLDEN_MODELS, OWN_GOLDEN_MODELS, parse_lines, read_json, \
    read_json_lines
from errors_test import ErrorCase
from gguf_file import GgufFile

TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
GPT2 = {**BYTE_LEVEL, "use_regex": True}

# Words that rules cut in different places, spelled in bytes as GPT-2 spells them; each becomes a
# token by merges from the left.
WORDS = ("12345", "Ġ12", "'S", "'t", "HelloWorld", "Ġhello", "!Ċ", "ĊĊ", "ĠĠ", "//a")
UNMERGED = "qzx"  # a token that no merge makes
SPECIAL = ("<s>", "</s>", "<|im_start|>")
TEXTS = ("Hello world, it's HelloWorld'S 12345 123 1 12", "  two\n\n  lines!\n// a\t'T we'S",
         "qzx aqzx Größe 你好 🙂 1234567", "<s>Hi</s> <|im_start|> x<|im_start|>")


# Gemma's: SentencePiece without a space in front. Runs of spaces are users' tokens, as there.
GEMMA_CONTROL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
GEMMA_USER = ("\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "<table>")
GEMMA_WORDS = ("Hello", "▁world", "▁two", "model", "user", "▁the", "ing", "▁12")
GEMMA_TEXTS = ("Hello world", " Hello  two   lines\n\nand    12 <table> more", "Größe 🙂 modeling",
               "   the", "", " ", "<start_of_turn>user\nHello<end_of_turn>\n")
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}")


def gemma_tokenizer_json():
    vocab, merges = [*GEMMA_CONTROL, *GEMMA_USER, *(f"<0x{b:02X}>" for b in range(256))], []
    vocab += ["\n", "▁", *map(chr, range(33, 127))]

    def merge(left, right):
        merges.append([left, right])
        if left + right not in vocab:
            vocab.append(left + right)
    merge("\n", "\n")
    for left, right in (("▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "▁"), ("▁", "▁▁"), ("▁▁▁", "▁")):
        merge(left, right)
    for word in GEMMA_WORDS:
        for end in range(2, len(word) + 1):
            merge(word[:end - 1], word[end - 1])
    ids = {t: i for i, t in enumerate(vocab)}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": ids[t], "content": t, "special": t in GEMMA_CONTROL,
                              "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False} for t in (*GEMMA_CONTROL, *GEMMA_USER)],
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                              "behavior": "MergedWithPrevious", "invert": False},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}},
                           {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "byte_fallback": True, "ignore_merges": False, "vocab": ids,
                      "merges": merges}}


def byte_letters():
    """GPT-2's letters for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


def split(regex):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
        BYTE_LEVEL]}


def tokenizer_json(pre_tokenizer, ignore_merges=False):
    vocab, merges = byte_letters(), []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocab:
                vocab.append(word[:end])
                merges.append(f"{word[:end - 1]} {word[end - 1]}")
    vocab.append(UNMERGED)
    added = [{"id": len(vocab) + i, "content": text, "special": True, "normalized": False}
             for i, text in enumerate(SPECIAL)]
    return {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": pre_tokenizer, "post_processor": None,
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(vocab)},
                      "merges": merges, "ignore_merges": ignore_merges}}


RULES = {
    "smollm": tokenizer_json({"type": "Sequence", "pretokenizers": [DIGITS, GPT2]}),
    "gpt-2": tokenizer_json(GPT2),
    "qwen2": tokenizer_json(split(LETTERS + r"\p{N}" + TAIL)),
    "llama-bpe": tokenizer_json(split(LETTERS + r"\p{N}{1,3}" + TAIL), ignore_merges=True),
    "smaug-bpe": tokenizer_json(split(LETTERS + r"\p{N}{1,3}" + TAIL)),
    "gpt-4o": tokenizer_json(split(GPT4O)),
}


class FolderCase(ErrorCase):

    def quantise(self, model, name="f32"):
        """The path of the file; stderr may hold warnings."""
        out = self.temp_dir() / "out.gguf"
        done = self.run_bytes("quantise", model, out, "--format", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def folder(self, golden="llama-gqa-tied", **files):
        """A copy of a golden's folder with other JSON files: `config` is put into its own."""
        folder = self.temp_dir() / golden
        shutil.copytree(self.golden(golden), folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        for name, content in files.items():
            path = folder / f"{name}.json"
            if name == "config":
                content = {**read_json(path), **content}
            path.write_text(json.dumps(content))
        return folder

    def assert_same_logits(self, folder, path, delta):
        ids = ("--prompt-tokens", ",".join(str(5 + 7 * i % 250) for i in range(40)))
        want, got = (parse_lines(self.text_of("logits", "--all", "-m", m, *ids, *F32))
                     for m in (folder, path))
        self.assertEqual(len(want), len(got))
        for a, b in zip(want, got):
            worst = max(abs(x - y) for x, y in zip(a["logits"], b["logits"]))
            self.assertLessEqual(worst, delta, folder)


class ModelTest(FolderCase):

    def test_logits_are_the_folder_s(self):
        for golden in (*GOLDEN_MODELS, *OWN_GOLDEN_MODELS):
            if golden in ("mistral-window", "gemma3-capped"):  # GGUF cannot say all of it
                continue
            # Multipliers, and factors of rotary embeddings, are float32 in GGUF.
            rounded = golden in ("llama3-rope", "llama3-yarn", "phi3-longrope", "phi4-mini-shape",
                                 "granite-multipliers")
            folder = self.golden(golden)
            self.assert_same_logits(folder, self.quantise(folder), 1e-4 if rounded else 0)

    def test_a_mistral_without_a_window_is_a_llama(self):
        folder = self.folder("mistral-window", config={"sliding_window": None})
        path = self.quantise(folder)
        self.assertEqual(GgufFile(path).values["general.architecture"], b"llama")
        self.assert_same_logits(folder, path, 0)

    def test_what_gguf_cannot_say_is_refused_by_name(self):
        yarn = read_json(pathlib.Path(self.golden("llama3-yarn")) / "config.json")
        key = "rope_parameters" if yarn.get("rope_parameters") else "rope_scaling"
        cases = ((self.golden("mistral-window"), "sliding window"),
                 (self.golden("gemma3-capped"), "sliding window"),
                 (self.folder("gemma2-alternating", config={
                     "final_logit_softcapping": None}), "soft caps"),
                 (self.folder("gemma2-alternating", config={
                     "query_pre_attn_scalar": 24}), "multipliers"),
                 (self.folder("smollm3-nope", config={
                     "no_rope_layers": None, "no_rope_layer_interval": 3}), "rotary embedding"),
                 (self.folder("llama3-yarn", config={
                     key: {**yarn[key], "truncate": False}}), "rotary embedding"))
        for folder, name in cases:
            out = self.temp_dir() / "out.gguf"
            self.assert_fails(("quantise", folder, out, "--format", "q8_0"), name, "folder")
            self.assertEqual(list(out.parent.iterdir()), [])

    def test_settings_of_sampling_are_kept(self):
        folder = self.folder(generation_config={"do_sample": True, "temperature": 0.5, "top_k": 7,
                                                "eos_token_id": [2, 5]})
        values = GgufFile(self.quantise(folder)).values
        self.assertEqual((values["general.sampling.temp"], values["general.sampling.top_k"]),
                         (0.5, 7))


class PerplexityTest(FolderCase):

    def perplexity(self, model, tokens):
        """As the command measures it in windows of the model's 512 positions."""
        loss, path = 0.0, self.temp_dir() / "tokens.json"
        for at in range(0, len(tokens), 512):
            window = tokens[at:at + 512]
            path.write_text(json.dumps({"tokens": window}))
            out = self.object_of("perplexity", "-m", model, "--tokens", path)
            loss += math.log(out["perplexity"]) * (len(window) - 1)
        return math.exp(loss / (len(tokens) - math.ceil(len(tokens) / 512)))

    def test_it_is_told_before_and_after(self):
        model, out = self.shared("stories260k-phi3"), self.temp_dir() / "out.gguf"
        text = self.temp_dir() / "text.txt"
        text.write_text("Once upon a time, there was a little girl named Lily. She sang. " * 40)
        said = json.loads(self.run_bytes("quantise", model, out, "--format", "q4_0", "--json",
                                         "--perplexity", text).stdout)["perplexity"]
        tokens = self.tokenize(model, [{"text": text.read_text()}])[0]["ids"]
        bos = said["tokens"] - len(tokens)
        self.assertIn(bos, (0, 1))
        tokens = [1] * bos + tokens
        self.assertGreater(len(tokens), 600)
        for path, key in ((model, "before"), (out, "after")):
            self.assertAlmostEqual(said[key] / self.perplexity(path, tokens), 1, places=9)
        self.assertNotEqual(said["before"], said["after"])

    def test_it_needs_a_text_and_a_tokenizer(self):
        folder = self.temp_dir()
        text, out = folder / "text.txt", folder / "out.gguf"
        text.write_text("")
        options = ("--format", "q8_0", "--perplexity", text)
        stories = self.shared("stories260k-phi3")
        self.assert_fails(("quantise", stories, out, *options), "text")
        self.assert_fails(("quantise", stories, out, *options[:3], folder / "absent"), "absent")
        done = self.run_bytes("quantise", self.golden("qwen2-bias-tied"), out, *options)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--perplexity", done.stderr.decode())
        self.assertEqual(list(folder.iterdir()), [text])


class TokenizerTest(FolderCase):

    def assert_same_tokens(self, folder, path, texts=TEXTS):
        requests = [{"text": text} for text in texts]
        want, got = (self.tokenize(m, requests) for m in (folder, path))
        self.assertEqual(want, got)
        ids = [{"ids": answer["ids"]} for answer in want]
        self.assertEqual(self.tokenize(folder, ids), self.tokenize(path, ids))

    def test_each_rule_that_cuts_texts_is_found(self):
        for rule, tokenizer in RULES.items():
            folder = self.folder(tokenizer=tokenizer)
            path = self.quantise(folder)
            values = GgufFile(path).values
            self.assertEqual(values["tokenizer.ggml.pre"].decode(), rule)
            self.assertEqual(len(values["tokenizer.ggml.tokens"]), 512)  # the matrices' rows
            self.assert_same_tokens(folder, path)

    def test_what_ends_a_text_and_the_chat_template_are_kept(self):
        template = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}{% endfor %}"
        tokenizer = RULES["qwen2"]
        ids = {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
        folder = self.folder(
            tokenizer=tokenizer, tokenizer_config={"chat_template": template},
            config={"bos_token_id": ids["<s>"], "eos_token_id": ids["</s>"]},
            generation_config={"eos_token_id": [ids["</s>"], ids["<|im_start|>"]]})
        path = self.quantise(folder)
        request = [{"messages": [{"role": "user", "content": "Hello 12"}]}]
        self.assertEqual(self.tokenize(folder, request), self.tokenize(path, request))
        values = GgufFile(path).values
        for key, text in (("bos", "<s>"), ("eos", "</s>"), ("eot", "<|im_start|>")):
            self.assertEqual(values[f"tokenizer.ggml.{key}_token_id"], ids[text], key)

    def test_phi3_texts_become_the_ids_of_the_reference(self):
        path = self.quantise(self.golden("phi3-mini-shape"), "f16")
        cases = read_json_lines(self.shared("phi3/phi3_mini_encode.jsonl"))
        answers = self.tokenize(path, [{"text": c["text"]} for c in cases])
        for case, answer in zip(cases, answers):
            self.assertEqual(answer["ids"], case["ids"], case["text"][:100])
        cases = read_json_lines(self.shared("phi3/phi3_mini_chat.jsonl"))
        requests = [{k: c[k] for k in ("messages", "add_generation_prompt")} for c in cases]
        for case, answer in zip(cases, self.tokenize(path, requests)):
            self.assertEqual(answer, {"rendered": case["rendered"], "ids": case["ids"]})

    def test_the_default_model_s_vocabulary_comes_back_as_it_was(self):
        source = GgufFile(self.smollm2()).values
        tokens = [t.decode() for t in source["tokenizer.ggml.tokens"]]
        types = source["tokenizer.ggml.token_type"]
        tokenizer = tokenizer_json({"type": "Sequence", "pretokenizers": [DIGITS, GPT2]})
        tokenizer["added_tokens"] = [
            {"id": i, "content": tokens[i], "special": True, "normalized": False}
            for i, kind in enumerate(types) if kind == 3]
        tokenizer["model"]["vocab"] = {t: i for i, t in enumerate(tokens)}
        tokenizer["model"]["merges"] = [m.decode() for m in source["tokenizer.ggml.merges"]]
        folder = self.folder(tokenizer=tokenizer, config={"vocab_size": len(tokens)})
        self.widen_embedding(folder / "model.safetensors", len(tokens))
        written = GgufFile(self.quantise(folder, "q8_0")).values
        for key in ("model", "pre", "tokens", "token_type", "merges"):
            self.assertEqual(written[f"tokenizer.ggml.{key}"], source[f"tokenizer.ggml.{key}"], key)

    def gemma(self, golden):
        """The folder of a small Gemma with a tokenizer and a chat template, and its GGUF file."""
        tokenizer = gemma_tokenizer_json()
        rows = len(tokenizer["model"]["vocab"])
        folder = self.folder(
            golden, tokenizer=tokenizer,
            tokenizer_config={"chat_template": GEMMA_TEMPLATE, "bos_token": "<bos>"},
            config={"vocab_size": rows, "bos_token_id": 2, "eos_token_id": [1, 5]})
        self.widen_embedding(folder / "model.safetensors", rows)
        return folder, self.quantise(folder)

    def test_gemma_s_tokens_and_chat_are_kept(self):
        messages = [{"role": "user", "content": " Hello  world "},
                    {"role": "assistant", "content": "two"}, {"role": "user", "content": "the"}]
        request = [{"messages": messages, "add_generation_prompt": True}]
        rendered = ("<bos><start_of_turn>user\nHello  world<end_of_turn>\n<start_of_turn>model\ntwo"
                    "<end_of_turn>\n<start_of_turn>user\nthe<end_of_turn>\n<start_of_turn>model\n")
        for golden in ("gemma3-local-global", "gemma2-alternating"):
            folder, path = self.gemma(golden)
            self.assert_same_tokens(folder, path, GEMMA_TEXTS)
            ids = gemma_tokenizer_json()["model"]["vocab"]
            want = [ids[t] for t in ("▁", "Hello", "▁▁", *"two", "▁▁▁", *"12")]
            text = " Hello  two   12"
            self.assertEqual(self.tokenize(path, [{"text": text}])[0]["ids"], want)
            answer = self.tokenize(folder, request)[0]
            self.assertEqual(answer["rendered"], rendered)
            self.assertEqual(self.tokenize(path, request), [answer])
            self.assertEqual(GgufFile(path).values["tokenizer.ggml.add_bos_token"], True)

    def test_a_gemma_of_images_and_text_is_its_text(self):
        alone = self.golden("gemma3-local-global")
        folder = self.folder("gemma3-local-global")
        text = read_json(folder / "config.json")
        (folder / "config.json").write_text(json.dumps(
            {"model_type": "gemma3", "text_config": text, "vision_config": {}}))
        weights = folder / "model.safetensors"
        data = weights.read_bytes()
        size, = struct.unpack_from("<Q", data)
        header = {name if name == "__metadata__" else "language_model." + name: tensor
                  for name, tensor in json.loads(data[8:8 + size]).items()}
        header["vision_tower.bias"] = {"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]}
        renamed = json.dumps(header).encode()
        weights.write_bytes(struct.pack("<Q", len(renamed)) + renamed + data[8 + size:])
        self.assert_same_logits(alone, folder, 0)
        self.assert_same_logits(alone, self.quantise(folder), 0)

    def test_gemma_answers_alike_from_both_and_cut_anywhere(self):
        for golden in ("gemma3-local-global", "gemma2-alternating"):
            folder, path = self.gemma(golden)
            options = ("--chat", "--prompt", "Hello  world, the two", "--max-tokens", 24,
                       "--ignore-eos", "--json", *F32)
            want = self.object_of("generate", "-m", folder, *options)["token_ids"]
            self.assertEqual(len(want), 24)
            for model in (folder, path):
                for cut in ((), ("--stages", 2), ("--stages", 4, "--threads", 1)):
                    got = self.object_of("generate", "-m", model, *options, *cut)["token_ids"]
                    self.assertEqual(got, want, (model, cut))

    @staticmethod
    def widen_embedding(path, rows):
        """More rows of zeros for the embedding, which is tied."""
        data = path.read_bytes()
        size, = struct.unpack_from("<Q", data)
        header, body = json.loads(data[8:8 + size]), data[8 + size:]
        tensor = header["model.embed_tokens.weight"]
        old, cols = tensor["shape"]
        bytes_of_row = (tensor["data_offsets"][1] - tensor["data_offsets"][0]) // old
        tensor["shape"] = [rows, cols]
        tensor["data_offsets"] = [len(body), len(body) + rows * bytes_of_row]
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + body + bytes(rows * bytes_of_row))

    def test_a_tokenizer_that_gguf_cannot_name_is_refused(self):
        runs = {"type": "Sequence", "pretokenizers": [
            {**DIGITS, "individual_digits": False},
            {"type": "Split", "pattern": {"Regex": LETTERS + r"\p{N}{1,3}" + TAIL},
             "behavior": "Isolated", "invert": False}, BYTE_LEVEL]}
        folder, out = self.folder(tokenizer=tokenizer_json(runs)), self.temp_dir() / "out.gguf"
        self.assert_fails(("quantise", folder, out, "--format", "q8_0"), "tokenizer.json",
                          "use the folder")

    def test_long_tokens_cost_little(self):
        tokenizer = tokenizer_json(GPT2)
        vocab = tokenizer["model"]["vocab"]
        at = len(vocab) + len(SPECIAL)
        vocab.update((chr(ord("A") + i % 26) * (60_000 + i), at + i) for i in range(100))
        folder, out = self.folder(tokenizer=tokenizer), self.temp_dir() / "out.gguf"

        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
        done = self.run_bytes("quantise", folder, out, "--format", "q8_0", "--threads", 1,
                              preexec_fn=limit)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(GgufFile(out).values["tokenizer.ggml.pre"], b"gpt-2")

    def test_more_tokens_than_rows_are_refused(self):
        tokenizer = tokenizer_json(GPT2)
        tokenizer["added_tokens"][0]["id"] = 512
        folder, out = self.folder(tokenizer=tokenizer), self.temp_dir() / "out.gguf"
        self.assert_fails(("quantise", folder, out, "--format", "q8_0"), "512")

    def test_without_a_tokenizer_there_is_none_and_a_warning(self):
        folder, out = self.golden("qwen2-bias-tied"), self.temp_dir() / "out.gguf"
        done = self.run_bytes("quantise", folder, out, "--format", "q8_0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr.decode(), r"\Acatena: warning: [^\n]*tokenizer.json[^\n]*\n\Z")
        self.assertFalse([k for k in GgufFile(out).values if k.startswith("tokenizer.")])


if __name__ == "__main__":
    unittest.main()
