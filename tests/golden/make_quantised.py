"""Makes the quantised folders of quantised/ and what transformers computes with their values.

    python3 -m venv v && v/bin/pip install torch transformers==5.24.0 safetensors compressed-tensors
    v/bin/python tests/golden/make_quantised.py

Weights are random, quantised here by rounding to the nearest; packing is compressed-tensors' own
where it has any, else as AutoAWQ and AutoGPTQ document theirs. expected.json is make_golden.py's,
of float32 arithmetic on the dequantised values as Catena holds them (code times scale, rounded to
float16 or bfloat16 where model/weights/quantised/quant_matrix.h says so); `exact` has the same of
values that are not rounded, where the two differ.
"""

import json
import pathlib
import shutil

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from safetensors.torch import save_file
from transformers import (LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM)

from make_golden import case, fill

HERE = pathlib.Path(__file__).resolve().parent / "quantised"
SMALL = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
         "rms_norm_eps": 1e-6, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0, "tie_word_embeddings": False}
GROUP = 32


def grouped(w, group):
    return w.reshape(w.shape[0], -1, group if group > 0 else w.shape[1])


def to_integers(w, bits, group, symmetric, scale_type):
    """codes (rows, cols), zeros (rows, groups) without sign, scales (rows, groups)"""
    g, most = grouped(w, group), 2 ** bits - 1
    if symmetric:
        scale = g.abs().amax(-1) / (2 ** (bits - 1) - 1)
        scale = scale.to(scale_type).float()
        zero = torch.full_like(scale, 2 ** (bits - 1))
    else:
        low, high = g.amin(-1).clamp(max=0), g.amax(-1).clamp(min=0)
        scale = ((high - low) / most).to(scale_type).float()
        zero = (-low / scale).round().clamp(1, most)
    codes = ((g / scale[..., None]).round() + zero[..., None]).clamp(0, most)
    return codes.reshape(w.shape).int(), zero.int(), scale


def value_of(codes, zero, scale, group):
    return ((grouped(codes, group) - zero[..., None]) * scale[..., None]).reshape(codes.shape)


def words(values, bits, order=None):
    """int32 words of consecutive values along the last dimension"""
    n = 32 // bits
    order = order or list(range(n))
    v = values.to(torch.int64).reshape(*values.shape[:-1], -1, n)
    word = sum(v[..., order[i]] << (bits * i) for i in range(n))
    return torch.where(word >= 2 ** 31, word - 2 ** 32, word).to(torch.int32)


def awq(w):
    codes, zero, scale = to_integers(w, 4, GROUP, False, torch.float16)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {"qweight": words(codes.T, 4, order), "qzeros": words(zero.T, 4, order),
            "scales": scale.T.half()}, value_of(codes, zero, scale, GROUP), None


def gptq(bits, group, symmetric, offset):
    def quantise(w):
        codes, zero, scale = to_integers(w, bits, group, symmetric, torch.float16)
        parts = {"qweight": words(codes, bits).T, "scales": scale.T.half(),
                 "qzeros": words(zero.T - offset, bits),
                 "g_idx": torch.arange(w.shape[1], dtype=torch.int32) // (group or w.shape[1])}
        if not symmetric:  # AutoGPTQ writes biases that the model has not
            parts["bias"] = torch.zeros(w.shape[0], dtype=torch.float16)
        exact = value_of(codes, zero, scale, group)
        return parts, exact, exact.half().float() if bits == 8 and not symmetric else None
    return quantise


def packed(bits, symmetric):
    def quantise(w):
        codes, zero, scale = to_integers(w, bits, GROUP, symmetric, torch.bfloat16)
        half = 2 ** (bits - 1)
        parts = {"weight_packed": pack_to_int32((codes - half).to(torch.int8), bits),
                 "weight_scale": scale.bfloat16(),
                 "weight_shape": torch.tensor(w.shape, dtype=torch.int64)}
        if not symmetric:
            parts["weight_zero_point"] = pack_to_int32((zero - half).to(torch.int8), bits,
                                                       packed_dim=0)
        return parts, value_of(codes, zero, scale, GROUP), None
    return quantise


def int8_channel(w):
    codes, zero, scale = to_integers(w, 8, 0, True, torch.bfloat16)
    return {"weight": (codes - 128).to(torch.int8), "weight_scale": scale.bfloat16()}, \
        value_of(codes, zero, scale, 0), None


def fp8(w, scale, name):
    code = (w / scale).to(torch.float8_e4m3fn)
    exact = code.float() * scale
    return code, exact, exact.bfloat16().float()


def fp8_channel(w):
    scale = (w.abs().amax(1, keepdim=True) / 448).bfloat16()
    code, exact, rounded = fp8(w, scale.float(), "weight_scale")
    return {"weight": code, "weight_scale": scale}, exact, rounded


def fp8_block(w):
    rows, cols = (-(-n // 128) for n in w.shape)
    padded = torch.zeros(rows * 128, cols * 128)
    padded[:w.shape[0], :w.shape[1]] = w
    scale = padded.reshape(rows, 128, cols, 128).abs().amax((1, 3)) / 448
    whole = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)
    code, exact, rounded = fp8(w, whole[:w.shape[0], :w.shape[1]], "weight_scale_inv")
    return {"weight": code, "weight_scale_inv": scale}, exact, rounded


def compressed(form, bits, kind="int", symmetric=True, strategy="group", inputs=None):
    weights = {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy,
               "group_size": GROUP if strategy == "group" else None, "dynamic": False,
               "observer": "minmax"}
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["lm_head"],
            "quantization_status": "compressed", "config_groups": {"group_0": {
                "targets": ["Linear"], "weights": weights, "input_activations": inputs}}}


def gptq_config(bits, group, sym, form="gptq"):
    return {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": sym,
            "desc_act": False, "checkpoint_format": form}


def models():
    llama = (LlamaForCausalLM, LlamaConfig(**SMALL))
    phi3 = (Phi3ForCausalLM, Phi3Config(**SMALL))
    qwen2 = (Qwen2ForCausalLM, Qwen2Config(**SMALL))
    wide = (LlamaForCausalLM, LlamaConfig(**{**SMALL, "intermediate_size": 160}))
    dynamic = {"num_bits": 8, "type": "int", "dynamic": True, "strategy": "token"}
    yield "awq", *phi3, awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP,
                              "version": "gemm", "zero_point": True}
    yield "gptq-4-sym", *llama, gptq(4, GROUP, True, 1), gptq_config(4, GROUP, True)
    yield "gptq-4-asym", *qwen2, gptq(4, 0, False, 1), gptq_config(4, -1, False)
    yield "gptq-8-sym", *llama, gptq(8, GROUP, True, 0), gptq_config(8, GROUP, True, "gptq_v2")
    yield "gptq-8-asym", *llama, gptq(8, GROUP, False, 1), gptq_config(8, GROUP, False)
    yield "packed-4-sym", *llama, packed(4, True), compressed("pack-quantized", 4)
    yield "packed-4-asym", *phi3, packed(4, False), compressed("pack-quantized", 4, symmetric=False)
    yield "packed-8-sym", *llama, packed(8, True), compressed("pack-quantized", 8)
    yield "int8-channel", *qwen2, int8_channel, compressed("int-quantized", 8, strategy="channel",
                                                          inputs=dynamic)
    yield "fp8-channel", *llama, fp8_channel, compressed("float-quantized", 8, "float",
                                                         strategy="channel")
    yield "fp8-block", *wide, fp8_block, {"quant_method": "fp8", "fmt": "e4m3",
                                          "activation_scheme": "dynamic",
                                          "weight_block_size": [128, 128]}


@torch.no_grad()
def cases(cls, config, values):
    model = cls(config).float().eval()
    model.config._attn_implementation = "eager"
    model.load_state_dict(values, strict=True)
    generator = torch.Generator().manual_seed(7)
    return [case(model, torch.randint(3, 128, (n,), generator=generator).tolist(), 16)
            for n in (1, 24)]


@torch.no_grad()
def make(seed, name, cls, config, quantise, quantisation):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = cls(config)
    fill(model, seed)
    stored, held, exact = {}, {}, {}
    for key, tensor in model.state_dict().items():
        if not key.endswith("_proj.weight"):
            stored[key] = tensor.bfloat16()
            held[key] = exact[key] = stored[key].float()
            continue
        parts, exact[key], rounded = quantise(tensor.float())
        held[key] = exact[key] if rounded is None else rounded
        for part, value in parts.items():
            stored[f"{key.removesuffix('.weight')}.{part}"] = value.contiguous()
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    text = {**json.loads(config.to_json_string(use_diff=False)), "architectures": [cls.__name__],
            "quantization_config": quantisation}
    (folder / "config.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    expected = {"cases": cases(cls, config, held)}
    if any(not torch.equal(held[k], exact[k]) for k in held):
        expected["exact"] = cases(cls, config, exact)
    (folder / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n",
                                          encoding="utf-8")
    print(name, [min(c["greedy_margin"]) for c in expected["cases"]])


def main():
    torch.set_num_threads(1)
    for k, row in enumerate(models()):
        make(3000 + k, *row)


if __name__ == "__main__":
    main()
