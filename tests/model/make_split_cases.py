#!/usr/bin/env python3
"""Writes split_cases.json: how huggingface/tokenizers cuts hostile texts, for split_cases_test.cc.

    V/bin/python tests/model/make_split_cases.py    # V: a virtual environment with tokenizers

A case is a pre_tokenizer as a public tokenizer.json has it, or one that shows a difference between
Oniguruma and PCRE2. Of each text it holds the bytes of each piece, and less than 0 where bytes are
dropped. Characters are of Unicode 14, which all of the libraries know.
"""

import json
import pathlib

import tokenizers

APOSTROPHES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Letters that have a capital or a small form, as DeepSeek lists them.
DEEPSEEK_CASED = (
    "A-Za-z"
    "\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3"
    "\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115"
    "\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943")
NOT_HAN = r"&&[^\p{Han}]]"


def cased(end):
    """Words that end where capitals begin, each with `end` behind it."""
    start = r"[^\r\n\p{L}\p{N}]?"
    return f"{start}{UPPER}*{LOWER}+{end}|{start}{UPPER}+{LOWER}*{end}|"


REGEXES = {
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES,
    "cl100k-possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
                         r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "o200k": cased(APOSTROPHES + "?") + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    "tekken": cased("") + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    "qwen3.5": APOSTROPHES + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
               r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + SPACES,
    "kimi-k2": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}" + NOT_HAN +
               r"*[\p{Ll}\p{Lm}\p{Lo}\p{M}" + NOT_HAN + "+" + APOSTROPHES +
               r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}" + NOT_HAN +
               r"+[\p{Ll}\p{Lm}\p{Lo}\p{M}" + NOT_HAN + "*" + APOSTROPHES +
               r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES,
    "seed-coder": APOSTROPHES + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+"
                  "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    "exaone-moe": APOSTROPHES + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
    "bloom": " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]"
            r"|[^\s\p{L}\p{N}]+",
    "thousands": r"\d{1,3}(?=(?:\d{3})*\b)",
    "superbpe": r"(?=(\d{3})+(?!\d))",
}

# What the two dialects read in different ways.
DIALECT = {
    "lines": r"^\s*\S+$|^$", "last white space": r"\s+$", "newlines": r"\R", "any": r".+|\O",
    "words": r"\w+", "words in a class": r"[\w']+", "no words": r"[^\W\d]+|[\W_]",
    "borders": r"\b\w", "no borders": r"\B.", "hexadecimal": r"\h+", "vertical": r"\v|\f|\a|\e",
    "POSIX": r"[[:punct:]]+|[[:upper:]]+|[[:digit:]][[:alnum:]]*|[[:^print:]]",
    "long names": r"\p{Uppercase_Letter}+|\p{^Letter}{2}|\p{Hiragana}+|\p{Cyrillic}+|\p{Emoji}",
    "intersection": r"[a-z&&[^aeiou]]+|[^\p{L}&&[^\d]]{1,2}", "nested": r"[^[^a-z]e]+|[a[0-9]b]{2}",
    "intervals": r"\p{L}{2}+|\d{,2}|a{", "lazy": r"l+?|o{1,2}?|\s*?x",
    "the rest of a group": r"(?:H(?i)E|W)|x(?i)l|(?-i:L)", "dots": r"(?m:o.+?l)|a.b",
    "look behind": r"(?<=[lo])\p{L}|(?<!\s)\d|(?<=a|bc)x", "atomic": r"(?>\p{L}+)s|\p{N}+",
    "complements": r"\P{Blank}{2}|\p{^Word}", "complements in a class": r"[\p{^Blank}\d]+",
    "empty": r"x*", "either end": r"\A.|.\z|.\Z", "numbers": r"\x41|\x{1F600}|\u4f60|\n|\055",
}

TEXTS = [
    "Hello, world! It's 2024, and we'LL pay $1,234,567.89 (\u20ac3.5) for x86_64's I/O.\n",
    "'s 'T 're'VE 'm'LL 'd '\u017f don\u2019t O'Dea's 'Sam 'llama ''tis",
    "camelCase HTTPServer XMLHttpRequest getID ALLCAPS iPhone A字B ǅǆ \u0301ABC A\u0301b",
    "a   b \n c  \n\n\n  d\t\te\r\n\r\n f \r g  ", "   \n \n   x", "\n\n", " ", "  ", "\t", "   ",
    "1 12 123 1234 12345 1234567 12 345٣٤ １２３ ½² Ⅻ 0x1F 1e-5",
    "你好，世界。こんにちはカタカナ 안녕하세요 漢字kana",
    "Привет, мир! Ελληνικά \u0627\u0644\u0639\u0631\u0628\u064a\u0629، \u05e9\u05dc\u05d5\u05dd "
    "नमस\u094dत\u0947 สว\u0e31สด\u0e35",
    "\U0001F600\U0001F1E9\U0001F1EA \U0001F468\u200d\U0001F469\u200d\U0001F467 ❤\ufe0f "
    "\U0001F44D\U0001F3FD 1\ufe0f\u20e3 ©™",
    "\u00a0x\u00a0\u3000y\u2003 \u2028z\u2029\u0085w\x0b\x0cv\u1680\u180eu\u200b\u2060t\ufeff\x1cs",
    "e\u0301\u0323 n\u0303a क\u094dष \u0301 \u0301\u0301 a\u0301\u0301b\u20dd한 가",
    "for (int i = 0; i < n; ++i) {\n\tx[i] += a->b * 2; // sum/of \\ it\n}\n\n#define F(x) "
    "\"%d\\n\"",
    "https://a.b/c?d=e&f=g#h user@host.example __init__ snake_case kebab-case a.b,c;d:e!f?g\u2026h",
    "<|endoftext|><|startoftext|> <s> </s> [INST] <|im_end|>\n{{x}} ```py\n```",
    "!!! ??? ... --- === *** /// \\\\\\ $$$ ^^ `` ~~ || ++ <> «» “q” — € £¬±",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" + " " * 40 + "\n" * 5 + "a" * 30,
    "\x00\x01\x07\x1b\x7f\u0080\u009f\u00ad", "\U000E0001\U0010FFFF\ue000\uffff", "",
    "ƻƼ ʔʕ ƛaƻb ǅǆ ῼ ℵ ﬀﬓ 𐐀𐒰 Ʂ Ile İı ßﬁ ẞ STRASSE Σσς Kµ ʰʼªⅠⓐ",
    "xx axx bcx  ax\nbcx xlL HE HW hello LLool 10 100 1000",
]


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
BYTES_GPT2 = {**BYTES, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def pre_tokenizers():
    for name, regex in {**REGEXES, **DIALECT}.items():
        yield name, split(regex)
    for behavior in ["Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        yield behavior, split(r"\s|l|\d+", behavior)
        yield behavior + " inverted", split(r"\p{L}+|\d|(?=!)", behavior, True)
    yield "a text", {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                     "invert": False}
    yield "deepseek-llm", sequence(
        split("[\r\n]"),
        split("\\s?[" + DEEPSEEK_CASED + "]+"),
        split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), split(r"\s+$"),
        split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
        {"type": "Digits", "individual_digits": False}, BYTES)
    yield "deepseek-coder", sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
        split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), DIGITS, BYTES)
    yield "deepseek-v3", sequence(
        split(r"\p{N}{1,3}"), split(CJK),
        split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
              "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), BYTES)
    yield "falcon", sequence({"type": "Punctuation", "behavior": "Contiguous"}, BYTES_GPT2,
                             {"type": "Digits", "individual_digits": False},
                             split("[0-9][0-9][0-9]"))
    yield "starcoder", sequence(DIGITS, BYTES_GPT2)
    yield "olmo", sequence(split(GPT2), BYTES)
    yield "qwen inverted", sequence(split(REGEXES["cl100k"], "Removed", True), BYTES)
    yield "Whitespace", {"type": "Whitespace"}
    yield "WhitespaceSplit", {"type": "WhitespaceSplit"}
    yield "Punctuation", {"type": "Punctuation", "behavior": "Isolated"}
    yield "CharDelimiterSplit", {"type": "CharDelimiterSplit", "delimiter": "a"}


def byte_of():
    """GPT-2's characters and the bytes that they stand for."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in own]
    return {chr(b): b for b in own} | {chr(0x100 + i): b for i, b in enumerate(moved)}


BYTE_OF = byte_of()


def sizes(spec, text):
    """The sizes of the pieces in bytes, and of what is dropped before, between and behind them."""
    pieces = load(spec).pre_tokenize_str(text)
    if "ByteLevel" in json.dumps(spec):
        found = [bytes(BYTE_OF[c] for c in piece) for piece, _ in pieces]
        assert b"".join(found) == text.encode()
        return [len(piece) for piece in found]
    out, at = [], 0
    for piece, (start, end) in pieces:
        assert piece == text[start:end]
        if start > at:
            out.append(-len(text[at:start].encode()))
        out.append(len(piece.encode()))
        at = end
    if at < len(text):
        out.append(-len(text[at:].encode()))
    return out


def load(spec):
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": spec,
        "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []}}))
    return tokenizer.pre_tokenizer


def main():
    lines = [json.dumps({"texts": TEXTS})]
    for name, spec in pre_tokenizers():
        cuts = [sizes(spec, text) for text in TEXTS]
        lines.append(json.dumps({"name": name, "pre_tokenizer": spec, "sizes": cuts},
                                separators=(",", ":")))
    out = pathlib.Path(__file__).with_name("split_cases.jsonl")
    out.write_text("\n".join(lines) + "\n")
    print(f"{out}: {len(lines) - 1} pre-tokenizers, {len(TEXTS)} texts")


if __name__ == "__main__":
    main()
