#!/usr/bin/env python3
"""What PyTorch and transformers do on the same GPU, as figures, a line of JSON each.

peers.py bf16-rate                   a product of 8192 x 8192 x 8192 by cuBLAS
peers.py transformers CONFIG.json    a decode step, batch 1 at 512 positions, random weights
--device cpu, --small: to try it
"""

import argparse
import json
import statistics
import sys
import time

import torch


def emit(**figures):
    print(json.dumps(figures), flush=True)


class Timer:
    """Seconds of work on the device."""

    def __init__(self, device):
        self.device = device

    def seconds(self, work, times):
        self._wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self._wait()
        return (time.perf_counter() - start) / times

    def _wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()


def bf16_rate(args):
    n = 256 if args.small else 8192
    a, b = (torch.randn(n, n, device=args.device).to(torch.bfloat16) for _ in range(2))
    timer = Timer(args.device)
    timer.seconds(lambda: a @ b, 3)
    seconds = min(timer.seconds(lambda: a @ b, 10) for _ in range(3))
    emit(operations_per_s=2 * n**3 / seconds, n=n)


def static_cache(config, positions, device):
    """transformers 5 takes it from the config; earlier ones want to be told."""
    from transformers import StaticCache
    try:
        return StaticCache(config=config, max_cache_len=positions)
    except TypeError:
        return StaticCache(config=config, max_batch_size=1, max_cache_len=positions, device=device,
                           dtype=torch.bfloat16)


class Decoder:
    """Greedy steps of one sequence with a static cache."""

    def __init__(self, model, context, positions, device):
        self.model, self.device, self.forward = model, device, model.forward
        self.cache = static_cache(model.config, positions, device)
        self.position = torch.arange(context, device=device)
        ids = torch.randint(32, model.config.vocab_size, (1, context), device=device)
        self.ids = self._run(ids)
        self.position = self.position[-1:] + 1

    def _run(self, ids):
        out = self.forward(input_ids=ids, past_key_values=self.cache, use_cache=True,
                           position_ids=self.position[None], cache_position=self.position)
        return out.logits[:, -1:].argmax(-1)

    def step(self):
        self.ids = self._run(self.ids).clone()
        self.position += 1


def transformers_step(args):
    import transformers
    config_dict = json.load(open(args.config, encoding="utf-8"))
    if args.small:
        config_dict |= {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
                        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 500,
                        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = transformers.AutoConfig.for_model(**config_dict)
    context, steps = (20, 3) if args.small else (512, 32)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(args.device), torch.inference_mode():
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        timer = Timer(args.device)
        decoder = Decoder(model, context, 1024, args.device)

        def figures():
            timer.seconds(decoder.step, 3)
            seconds = statistics.median(timer.seconds(decoder.step, steps) for _ in range(3))
            return {"seconds": seconds, "context": context, "torch": torch.__version__,
                    "transformers": transformers.__version__}

        emit(compiled=False, **figures())
        decoder.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)
        emit(compiled=True, **figures())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["bf16-rate", "transformers"])
    parser.add_argument("config", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    if args.what == "bf16-rate":
        bf16_rate(args)
    else:
        transformers_step(args)


if __name__ == "__main__":
    sys.exit(main())
