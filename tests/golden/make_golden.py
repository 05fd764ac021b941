"""Makes the small checkpoints of this folder and what transformers computes with them.

    python3 -m venv v && v/bin/pip install torch transformers==5.24.0 safetensors
    v/bin/python tests/golden/make_golden.py

Weights are random, drawn from a seed: no trained model is here. Each folder is a Hugging Face model
and expected.json, of float32 arithmetic on the stored weights, eager attention, without a cache:
  cases[].prompt         token ids fed, (T,)
  cases[].top            of each position the 20 largest logits: [[id, value], ...]
  cases[].logsumexp      of each position, (T,)
  cases[].greedy         the next ids under argmax
  cases[].greedy_margin  the largest logit less the second, at each of those steps
  cases[].hidden         before each decoder block, the last position's residual stream, 8 values
"""

import json
import pathlib

import torch
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig,
                          GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM,
                          SmolLM3Config, SmolLM3ForCausalLM)

HERE = pathlib.Path(__file__).resolve().parent
SEED = 1
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
         "rms_norm_eps": 1e-6, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
         "pad_token_id": 0}
# Heads of another size than hidden / heads, and a window that prompts pass.
GEMMA = {k: v for k, v in SMALL.items() if k != "hidden_act"} | {
    "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16,
    "hidden_activation": "gelu_pytorch_tanh"}


def models():
    # From the first block without on, positions do not count there but through the mask.
    yield "smollm3-nope", SmolLM3ForCausalLM, SmolLM3Config(**SMALL, rope_theta=50000.0)
    yield "llama-dynamic", LlamaForCausalLM, LlamaConfig(
        **SMALL, rope_theta=10000.0, rope_scaling={"rope_type": "dynamic", "factor": 4.0})
    # No multiplier is a power of two, and the epsilon is large: each shows if it is lost.
    yield "granite-multipliers", GraniteForCausalLM, GraniteConfig(
        **{**SMALL, "rms_norm_eps": 0.05}, rope_theta=10000.0,
        embedding_multiplier=3.0, residual_multiplier=0.22, attention_multiplier=0.15,
        logits_scaling=3.0)
    # Five local blocks, a global one, whose frequencies are scaled, and a local one.
    yield "gemma3-local-global", Gemma3ForCausalLM, Gemma3TextConfig(
        **{**GEMMA, "num_hidden_layers": 7},
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    # What no GGUF file says. Caps are low, so that values come near them; transformers' Gemma 3
    # leaves that of scores out.
    yield "gemma3-capped", Gemma3ForCausalLM, Gemma3TextConfig(
        **{**GEMMA, "query_pre_attn_scalar": 24}, attn_logit_softcapping=3.0,
        final_logit_softcapping=2.0,
        layer_types=["full_attention", "sliding_attention", "full_attention", "full_attention"])
    yield "gemma2-alternating", Gemma2ForCausalLM, Gemma2Config(
        **GEMMA, attn_logit_softcapping=3.0, final_logit_softcapping=2.0)


@torch.no_grad()
def fill(model, seed):
    """Gains lie between 0.5 and 1.5, whether they are stored so or, as Gemma's, less 1."""
    lowest = -0.5 if "gemma" in model.config.model_type else 0.5
    generator = torch.Generator().manual_seed(seed)
    for _, p in sorted(model.named_parameters()):
        if p.ndim == 1:
            p.copy_(torch.rand(p.shape, generator=generator) + lowest)
        else:
            p.copy_(torch.randn(p.shape, generator=generator) * (1.2 / p.shape[1] ** 0.5))


def rounded(values, digits=6):
    return [round(float(v), digits) for v in values]


@torch.no_grad()
def case(model, prompt, steps):
    out = model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False)
    logits = out.logits[0].float()
    values, ids = logits.topk(20, dim=-1)
    greedy, margins, text = [], [], list(prompt)
    for _ in range(steps):
        last = model(torch.tensor([text]), use_cache=False).logits[0, -1].float()
        two = last.topk(2).values
        margins.append(round(float(two[0] - two[1]), 6))
        greedy.append(int(last.argmax()))
        text.append(greedy[-1])
    return {"prompt": prompt,
            "top": [[[int(i), round(float(v), 6)] for i, v in zip(a, b)]
                    for a, b in zip(ids, values)],
            "logsumexp": rounded(logits.logsumexp(-1)),
            "hidden": [rounded(h[0, -1, :8]) for h in out.hidden_states[:-1]],
            "greedy": greedy, "greedy_margin": margins}


def main():
    torch.set_num_threads(1)
    for k, (name, cls, config) in enumerate(models()):
        folder = HERE / name
        torch.manual_seed(0)
        model = cls(config).eval()
        fill(model, SEED * 1000 + k)
        model.to(torch.bfloat16).save_pretrained(folder)
        model = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        generator = torch.Generator().manual_seed(SEED * 7 + k)
        cases = [case(model, torch.randint(3, 256, (n,), generator=generator).tolist(), 32)
                 for n in (1, 7, 24, 70)]
        text = json.dumps({"seed": SEED, "cases": cases}, separators=(",", ":"))
        (folder / "expected.json").write_text(text + "\n", encoding="utf-8")
        print(name, [min(c["greedy_margin"]) for c in cases])


if __name__ == "__main__":
    main()
