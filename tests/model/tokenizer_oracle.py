#!/usr/bin/env python3
"""Compares our tokenizer with huggingface/tokenizers over random texts and ids.

    python3 -m venv V && V/bin/pip install tokenizers gguf
    V/bin/python tests/model/tokenizer_oracle.py --tool build/release/bin/tokenizer_tool \
        [--count 20000] [--seed 1] tokenizer.json ...

A GGUF file may stand in place of a tokenizer.json: a byte-level vocabulary of pre-tokenizer smollm
is then compared with the same vocabulary as a tokenizer.json. Unigram models of drawn texts and
scores are compared as well. With --variants the pre-tokenizers of other models are tried on the
vocabulary of each file too. Exit status 0: no difference. Known:
under NFC a run of marks that Unicode 13 or later brought may come in another order, since the
reference's table is older than ICU's.
"""

import argparse
import base64
import copy
import json
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

import tokenizers

from make_split_cases import REGEXES

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

WORDS = (
    "the of and Hello world it's I'm we'LL 'Re don't 'ſ O'Dea 3.14 2024 １２３ ½ ⅫⅢ ٣ naïve "
    "Ünï İstanbul ǅ ǆ ﬁ ʰ ー 你好 こんにちは 안녕 привет नमस्ते สวัสดี 🦙 👩‍👩‍👧‍👦 🇩🇪 é ñ ﷺ … "
    "— “q” http://a.b/c?d=e_f __init__ camelCase HTTPServer ALLCAPS x86_64 <|end|> <|user|> "
    "<|assistant|> <|system|> </s> <s> <unk> <|endoftext|> <|im_start|> <|im_end|> <0x0A> ▁ ▁▁ "
    "Ġ Ċ # ## */ //// !!! ?! -- \u200b \u00ad \u0301ABC \u0301A A\u0301B \u0301 \u0301a A字B"
).split()
SPACES = [" ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028",
          "\u0085", "\x0b", "\x0c", "\u1680", "\u180e", "\u200a", "\x1c", ""]


def random_char(rng):
    while True:
        limit = rng.choice([0x80, 0x80, 0x250, 0x2000, 0x3100, 0x10000, 0x20000, 0x110000])
        c = chr(rng.randrange(limit))
        # What newer Unicode versions assigned depends on each library's version.
        if not 0xD800 <= ord(c) < 0xE000 and unicodedata.category(c) != "Cn":
            return c


def random_text(rng):
    parts = []
    for _ in range(rng.choice([1, 2, 3, 5, 10, 30, 100])):
        kind = rng.random()
        if kind < 0.6:
            parts.append(rng.choice(WORDS))
        elif kind < 0.8:
            parts.append("".join(random_char(rng) for _ in range(rng.randrange(1, 8))))
        elif kind < 0.9:
            parts.append(rng.choice(WORDS + SPACES + ["a", "ab"]) * rng.randrange(1, 40))
        parts.append(rng.choice(SPACES))
    return "".join(parts)


def gguf_to_json(path):
    import gguf

    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    assert get("model") == "gpt2" and get("pre") == "smollm", "only smollm vocabularies"
    tokens, types = get("tokens"), get("token_type")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": t, "special": True, **flags}
                         for i, t in enumerate(tokens) if types[i] == 3],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": get("merges")},
    }


def split_by(regex):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
         "use_regex": False}]}


PATTERNS = {"gpt2": GPT2, "llama3": LLAMA3, "qwen2": QWEN2, "gpt4o": GPT4O}


def pair_vocabularies():
    """A vocabulary in which any two bytes merge shows where words end, whatever they hold."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a in alphabet for b in alphabet]
    vocab = {t: i for i, t in enumerate(alphabet + [a + b for a, b in pairs])}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    for name, regex in {**PATTERNS, **REGEXES}.items():
        yield "pairs " + name, {
            "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
            "pre_tokenizer": split_by(regex), "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocab, "merges": [" ".join(p) for p in pairs]}}


def variants(spec):
    """The same vocabulary behind other pre-tokenizers, normalizers and flags."""
    def changed(name, **kw):
        out = copy.deepcopy(spec)
        for key, value in kw.items():
            if key in out["model"]:
                out["model"][key] = value
            else:
                out[key] = value
        return name, out

    if spec["decoder"]["type"] == "ByteLevel":
        for name, regex in PATTERNS.items():
            yield changed(name, pre_tokenizer=split_by(regex))
        spec["model"].setdefault("ignore_merges", False)
        yield changed("llama3 ignore_merges", pre_tokenizer=split_by(LLAMA3), ignore_merges=True)
        yield changed("qwen2 NFC", pre_tokenizer=split_by(QWEN2), normalizer={"type": "NFC"})
        yield changed("prefix space", pre_tokenizer={
            "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
            "use_regex": True})
        spec["model"].setdefault("unk_token", None)
        yield changed("unk", unk_token="<|endoftext|>")
    else:
        for scheme in ["always", "first", "never"]:
            yield changed("metaspace " + scheme, normalizer=None, pre_tokenizer={
                "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme,
                "split": scheme != "first"})
        yield changed("unk not fused", byte_fallback=False, fuse_unk=False)
        yield changed("unk fused", byte_fallback=False, fuse_unk=True)
    for flags in [{"lstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True},
                  {"normalized": True}, {"normalized": True, "lstrip": True, "rstrip": True}]:
        name, out = changed("added tokens " + " ".join(flags))
        for token in out["added_tokens"]:
            token.update(flags)
        yield name, out


def charsmap(entries):
    """SentencePiece's table of what texts become: a double array of their bytes, and texts."""
    root, texts = {}, b""
    for text, becomes in entries.items():
        node = root
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[None] = len(texts)
        texts += becomes.encode() + b"\0"
    units, used, bases = {}, {0}, set()

    def place(node, at, label):
        base = 1
        while base in bases or any(base ^ (c or 0) in used for c in node):
            base += 1
        bases.add(base)
        used.update(base ^ (c or 0) for c in node)
        units[at] = (at ^ base) << 10 | (None in node) << 8 | label
        for byte, child in node.items():
            if byte is None:
                units[base] = child | 1 << 31
            else:
                place(child, base ^ byte, byte)

    place(root, 0, 0)
    trie = [units.get(i, 0) for i in range((max(used | bases) | 0xff) + 1)]
    return base64.b64encode(struct.pack(f"<I{len(trie)}I", 4 * len(trie), *trie) + texts).decode()


def unigram_entries():
    """About what SentencePiece's nmt_nfkc does, and graphemes that are more than a character."""
    entries = {"\r\n": " ", "\n": " ", "\t": " ", "e\u0301": "é", "\u200b": "", "\u00ad": ""}
    for code in [*range(0xA0, 0x250), *range(0x2000, 0x2400), *range(0x3000, 0x3400),
                 *range(0xFB00, 0xFB07), *range(0xFF00, 0xFFF0)]:
        becomes = unicodedata.normalize("NFKC", chr(code))
        if becomes != chr(code):
            entries[chr(code)] = becomes
    return entries


def unigrams(rng):
    """Unigram models as transformers' converter from SentencePiece writes them, and otherwise."""
    pieces = {"\u2581"}
    for _ in range(300):
        text = random_text(rng).replace(" ", "\u2581")
        pieces.update(rng.sample(text, min(len(text), 3)))
        for _ in range(20):
            at = rng.randrange(len(text) or 1)
            pieces.add(text[at:at + rng.randrange(1, 9)])
    # "<|end|>" and the like would end a text with us.
    pieces = sorted(piece for piece in pieces if piece and "<" not in piece)
    pieces = ["<unk>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    # Few scores, so that many ways to cut have the same sum.
    vocab = [[piece, -float(rng.randrange(1, 12))] for piece in dict.fromkeys(pieces)]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always",
                 "split": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    spec = {"version": "1.0", "normalizer": None, "pre_tokenizer": metaspace,
            "post_processor": None, "decoder": metaspace,
            "added_tokens": [{"id": i, "content": vocab[i][0], "special": True, **flags}
                             for i in (0, 1)],
            "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}}
    yield "unigram", spec
    squeeze = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
    yield "unigram precompiled", {**spec, "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": charsmap(unigram_entries())},
        {"type": "Strip", "strip_left": False, "strip_right": True}, squeeze]}}
    yield "unigram bytes", {
        **spec, "model": {**spec["model"], "byte_fallback": True},
        "pre_tokenizer": {**metaspace, "prepend_scheme": "first", "split": False},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
    yield "unigram stripped", {
        **spec, "normalizer": {"type": "Strip", "strip_left": True, "strip_right": False},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, {**metaspace, "prepend_scheme": "never"}]},
        "decoder": {**metaspace, "prepend_scheme": "never"}}


def like_gemma(spec):
    """A SentencePiece vocabulary as Gemma's files have theirs: without a space in front, and runs
    of spaces that are tokens of their own."""
    marked = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    plain = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    out = copy.deepcopy(spec)
    out["normalizer"] = marked
    out["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "},
                            "behavior": "MergedWithPrevious", "invert": False}
    out["decoder"] = {"type": "Sequence",
                      "decoders": [plain, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    out["added_tokens"] += [{"id": i, "content": t, "special": False, **flags}
                            for t, i in spec["model"]["vocab"].items() if set(t) == {"▁"}]
    return out


class Tool:
    def __init__(self, binary, path):
        self.command = [binary, path]

    def ask(self, requests):
        text = "".join(json.dumps(r) + "\n" for r in requests)
        done = subprocess.run(self.command, input=text.encode(), capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def report(what, given, expected, got):
    print(f"DIFFERENT {what}: {given!r}\n  reference {expected!r}\n  ours      {got!r}")


def decodes_oddly(spec):
    """The reference (0.23) decodes an added token that is looked for normalized to its normalized
    text, "\u2581<s>", and then does not know it as special. We decode it to what it is."""
    return spec["normalizer"] is not None and any(t["normalized"] for t in spec["added_tokens"])


def compare(name, spec, binary, count, rng, show=5):
    reference = tokenizers.Tokenizer.from_str(json.dumps(spec))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(spec, file)
        file.flush()
        tool = Tool(binary, file.name)
        texts = [random_text(rng) for _ in range(count)]
        alphabet = [*range(256), *b"aZ \xe2\x96\x81\xf0\x9f\xa6\x99"]
        raw = [bytes(rng.choices(alphabet, k=rng.randrange(12))) for _ in range(count // 10)]
        requests = [{"text": t} for t in texts]
        requests += [{"bytes_b64": base64.b64encode(b).decode()} for b in raw]
        texts += [b.decode("utf-8", errors="replace") for b in raw]
        bad = 0
        for text, answer in zip(texts, tool.ask(requests)):
            expected = reference.encode(text, add_special_tokens=False).ids
            if expected != answer["ids"]:
                bad += 1
                if bad <= show:
                    report(name + " encode", text, expected, answer["ids"])
        size = reference.get_vocab_size()
        id_lists = 0 if decodes_oddly(spec) else count
        streams = [[rng.choice([rng.randrange(size), rng.randrange(300)])
                    for _ in range(rng.randrange(30))] for _ in range(id_lists)]
        for ids, answer in zip(streams, tool.ask([{"ids": i} for i in streams])):
            whole = reference.decode(ids, skip_special_tokens=False)
            skipped = reference.decode(ids, skip_special_tokens=True)
            ours = (answer["text"], answer["text_skip_special"], "".join(answer["chunks"]))
            if ours != (whole, skipped, whole):
                bad += 1
                if bad <= show:
                    report(name + " decode", ids, (whole, skipped, whole), ours)
    print(f"{name}: {len(texts)} texts and {len(streams)} id lists, {bad} different", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--tool", required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variants", action="store_true")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    bad = 0
    for path in args.files:
        spec = gguf_to_json(path) if path.endswith(".gguf") else json.load(open(path))
        bad += compare(path, spec, args.tool, args.count, rng)
        if spec["model"].get("byte_fallback"):
            bad += compare(f"{path} (like Gemma)", like_gemma(spec), args.tool, args.count, rng)
        if args.variants:
            for name, changed in variants(spec):
                bad += compare(f"{path} ({name})", changed, args.tool, args.count, rng)
    for name, spec in unigrams(rng):
        bad += compare(name, spec, args.tool, args.count, rng)
    for name, spec in pair_vocabularies() if args.variants else []:
        bad += compare(name, spec, args.tool, args.count, rng)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
