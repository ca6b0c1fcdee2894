"""Throughput of fine-tuning against a bare forward and backward pass: what loading, augmenting and stepping cost.

The bare pass repeats one random batch that already lies on the device, with the network, frozen stages, precision,
memory layout and determinism of the real loop, and without optimizer, augmentation or bookkeeping. Both are timed
alternately; the table holds medians. The goal is a ratio of at least 0.95 on a CUDA device.

    python benchmarks/finetune.py > benchmarks/finetune.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from training.backbone import build_backbone, freeze_through, mixed_precision, reproducible_on, resolve_device
from training.backbone_fit import finetune
from training.guard import FitScope
from training.recipe import Recipe, load_recipe
from training.weights import InitialWeights

RANDOM = InitialWeights("none", "random initialization", None, None)


def loop_rates(recipe: Recipe, batches: int, epochs: int, device: str) -> list[float]:
    """Return images per second of each epoch of the real loop but the first, which warms up."""
    count = batches * recipe.finetune.batch_size
    size = recipe.network.resize_px
    crops = np.random.default_rng(0).random((count, 3, size, size), dtype=np.float32)
    ids = tuple(str(i) for i in range(count))
    changes = {"maximum_epochs": epochs + 1, "validation_fraction": 0.0}
    fitted = finetune(
        crops,
        np.arange(count) % 2,
        ids,
        network=recipe.network,
        settings=recipe.finetune.model_copy(update=changes),
        initial=RANDOM,
        seed=0,
        scope=FitScope("benchmark", frozenset(ids)),
        device=device,
    )
    return [count / report.seconds for report in fitted.history[1:]]


def bare_rates(recipe: Recipe, batches: int, epochs: int, device: str) -> list[float]:
    """Return images per second of as many bare passes."""
    target = resolve_device(device)
    batch, side = recipe.finetune.batch_size, recipe.network.input_px
    rates = []
    with reproducible_on(target):
        module = build_backbone(RANDOM, 0).to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze_through(module, recipe.finetune)
        pixels = torch.rand(batch, 3, side, side, device=target).contiguous(memory_format=torch.channels_last)
        outcome = (torch.arange(batch, device=target) % 2).float()
        for _ in range(epochs + 1):
            start = time.perf_counter()
            for _ in range(batches):
                module.zero_grad(set_to_none=True)
                with mixed_precision(target):
                    features = module.features(pixels)
                loss = binary_cross_entropy_with_logits(module.head(features).squeeze(1), outcome)
                loss.backward()  # type: ignore[no-untyped-call]
            loss.item()  # waits for the device
            rates.append(batch * batches / (time.perf_counter() - start))
    return rates[1:]


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()}-core {names[0] if names else platform.machine()}, no GPU"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--recipes", nargs="+", default=["sound", "paper"])
    parser.add_argument("--rounds", type=int, default=3, help="times that loop and bare pass take turns")
    parser.add_argument("--epochs", type=int, default=2, help="epochs timed per turn")
    parser.add_argument("--batches", type=int, default=2, help="batches per epoch")
    options = parser.parse_args()
    device = resolve_device(options.device)
    precision = "bfloat16" if mixed_precision(device)._enabled else "float32"
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"Fine-tuning against a bare forward and backward pass, {today}, {hardware(device)}.\n")
    print(f"PyTorch {torch.__version__}, {precision}, {torch.get_num_threads()} CPU threads.")
    print(f"Medians over {options.rounds * options.epochs} epochs of {options.batches} batches, both timed in turns.\n")
    print("| recipe | frozen through | batch | input, px | loop, images/s | bare pass, images/s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name in options.recipes:
        recipe = load_recipe(name)
        loop: list[float] = []
        bare: list[float] = []
        for turn in range(options.rounds):
            print(f"{name}: turn {turn + 1} of {options.rounds}", file=sys.stderr)
            loop += loop_rates(recipe, options.batches, options.epochs, options.device)
            bare += bare_rates(recipe, options.batches, options.epochs, options.device)
        ours, theirs = statistics.median(loop), statistics.median(bare)
        chosen = recipe.finetune
        print(
            f"| {name} | {chosen.frozen_through} | {chosen.batch_size} | {recipe.network.input_px} "
            f"| {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |"
        )
    print("\nThe bare pass has no optimizer, augmentation or bookkeeping. Made by `python benchmarks/finetune.py`.")


if __name__ == "__main__":
    main()
