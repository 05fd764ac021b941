#!/usr/bin/env python3
"""Writes a GGUF file with the shape of Phi-3-mini and weights drawn from a seed.

bench/make_phi3_gguf.py --format q4_0 FILE

The speed of a model depends on its shape and format alone, so that both systems of a comparison can
be timed on such a file. Its text means nothing: the vocabulary has the byte tokens and numbers.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import argparse
import pathlib
import random
import struct

BLOCKS, HIDDEN, FFN, HEADS, VOCAB, CONTEXT = 32, 3072, 8192, 32, 32064, 4096
CHUNK_BLOCKS = 1 << 18  # of a tensor, in memory at once

ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of metadata
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # types of tokens

# The upper byte of a float16 and of a bfloat16: their signs, and magnitudes of 2^-7 to 2^-5.
_SMALL_F16 = bytes(b & 0x80 | 0x20 | b & 0x07 for b in range(256))
_SMALL_BF16 = bytes(b & 0x80 | 0x3C for b in range(256))


def _small(upper_bytes):
    def set_upper_bytes(data):
        data[1::2] = data[1::2].translate(upper_bytes)
    return set_upper_bytes


def _scales(block_bytes, high):
    """Of blocks that open with a float16 scale: its high byte; the low one stays random."""
    def set_scales(data):
        data[1::block_bytes] = bytes([high]) * (len(data) // block_bytes)
    return set_scales


class Format:
    """How a matrix is stored: `tame` makes finite, small weights of random bytes."""

    def __init__(self, ggml_type, file_type, block, block_bytes, tame):
        self.ggml_type = ggml_type
        self.file_type = file_type  # of general.file_type
        self.block = block
        self.block_bytes = block_bytes
        self.tame = tame

    def size(self, elements):
        return elements // self.block * self.block_bytes


FORMATS = {
    "f16": Format(1, 1, 1, 2, _small(_SMALL_F16)),
    "bf16": Format(30, 32, 1, 2, _small(_SMALL_BF16)),
    "q4_0": Format(2, 2, 32, 18, _scales(18, 0x21)),  # scales of 0.01
    "q8_0": Format(8, 7, 32, 34, _scales(34, 0x10)),  # scales of 0.0006
}


def tensors():
    """(name, dimensions with the contiguous one first); a norm has one dimension."""
    yield "token_embd.weight", (HIDDEN, VOCAB)
    for i in range(BLOCKS):
        yield f"blk.{i}.attn_norm.weight", (HIDDEN,)
        yield f"blk.{i}.attn_qkv.weight", (HIDDEN, 3 * HIDDEN)
        yield f"blk.{i}.attn_output.weight", (HIDDEN, HIDDEN)
        yield f"blk.{i}.ffn_norm.weight", (HIDDEN,)
        yield f"blk.{i}.ffn_up.weight", (HIDDEN, 2 * FFN)  # gate and up
        yield f"blk.{i}.ffn_down.weight", (FFN, HIDDEN)
    yield "output_norm.weight", (HIDDEN,)
    yield "output.weight", (HIDDEN, VOCAB)


def vocabulary():
    """(text, type) of each token."""
    yield "<unk>", UNKNOWN
    yield "<s>", CONTROL
    yield "</s>", CONTROL
    for byte in range(256):
        yield f"<0x{byte:02X}>", BYTE
    for i in range(VOCAB - 259):
        yield f"\u2581{i}", NORMAL


def metadata(file_type):
    """(key, type, value); of an array, the type of its items beside the value."""
    texts, types = zip(*vocabulary())
    yield "general.architecture", STRING, "phi3"
    yield "general.name", STRING, "random weights"  # llama.cpp adapts to a name with phi-3 in it
    yield "general.file_type", U32, file_type
    yield "general.quantization_version", U32, 2
    yield "phi3.context_length", U32, CONTEXT
    yield "phi3.rope.scaling.original_context_length", U32, CONTEXT
    yield "phi3.embedding_length", U32, HIDDEN
    yield "phi3.feed_forward_length", U32, FFN
    yield "phi3.block_count", U32, BLOCKS
    yield "phi3.attention.head_count", U32, HEADS
    yield "phi3.attention.head_count_kv", U32, HEADS
    yield "phi3.attention.layer_norm_rms_epsilon", F32, 1e-5
    yield "phi3.attention.sliding_window", U32, 2047
    yield "phi3.rope.dimension_count", U32, HIDDEN // HEADS
    yield "phi3.rope.freq_base", F32, 10000.0
    yield "tokenizer.ggml.model", STRING, "llama"
    yield "tokenizer.ggml.pre", STRING, "default"
    yield "tokenizer.ggml.tokens", ARRAY, (STRING, texts)
    yield "tokenizer.ggml.scores", ARRAY, (F32, [-float(i) for i in range(VOCAB)])
    yield "tokenizer.ggml.token_type", ARRAY, (I32, types)
    yield "tokenizer.ggml.bos_token_id", U32, 1
    yield "tokenizer.ggml.eos_token_id", U32, 2
    yield "tokenizer.ggml.unknown_token_id", U32, 0
    yield "tokenizer.ggml.add_bos_token", BOOL, True


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        of, items = value
        return struct.pack("<IQ", of, len(items)) + b"".join(_value(of, item) for item in items)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _padding(size):
    return b"\0" * (-size % ALIGNMENT)


def _count(dimensions):
    return dimensions[0] * (dimensions[1] if len(dimensions) == 2 else 1)


def _bytes_of(of_matrices, dimensions):
    return 4 * dimensions[0] if len(dimensions) == 1 else of_matrices.size(_count(dimensions))


def header(of_matrices):
    """All before the tensors' data."""
    pairs = [_string(key) + struct.pack("<I", kind) + _value(kind, value)
             for key, kind, value in metadata(of_matrices.file_type)]
    infos, offset = [], 0
    for name, dimensions in tensors():
        ggml_type = 0 if len(dimensions) == 1 else of_matrices.ggml_type  # 0: float32
        infos.append(_string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions),
                                                 *dimensions, ggml_type, offset))
        size = _bytes_of(of_matrices, dimensions)
        offset += size + len(_padding(size))
    start = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(pairs))
    return start + b"".join(pairs + infos)


def _chunks(of_matrices, elements, generator):
    """The data of a matrix, piece by piece."""
    left = elements // of_matrices.block
    while left:
        now = min(left, CHUNK_BLOCKS)
        data = bytearray(generator.randbytes(now * of_matrices.block_bytes))
        of_matrices.tame(data)
        yield data
        left -= now


def write(path, name, seed=1):
    """Writes the file with its matrices in the format `name`; it appears once it is whole."""
    of_matrices, generator = FORMATS[name], random.Random(seed)
    unfinished = pathlib.Path(f"{path}.part")
    with open(unfinished, "wb") as sink:
        start = header(of_matrices)
        sink.write(start + _padding(len(start)))
        for _, dimensions in tensors():
            if len(dimensions) == 1:
                sink.write(struct.pack("<f", 1.0) * dimensions[0])
            else:
                sink.writelines(_chunks(of_matrices, _count(dimensions), generator))
            sink.write(_padding(_bytes_of(of_matrices, dimensions)))
    unfinished.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, default="q4_0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("file", type=pathlib.Path)
    args = parser.parse_args()
    write(args.file, args.format, args.seed)


if __name__ == "__main__":
    main()
