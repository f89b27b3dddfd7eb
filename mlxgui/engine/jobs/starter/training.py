"""From the guide to a trained network: batches of conversations, one schedule, one seed."""

import math
import random
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mlxgui.engine.jobs.starter.guide import Asker, Entry
from mlxgui.engine.jobs.starter.network import AdamW, Network, Shape
from mlxgui.engine.jobs.starter.vocabulary import tokens_of

SEED = 20
STEPS = 4500
WARMUP_STEPS = 100
BATCH_TOKENS = 900
PEAK_RATE = 2e-3
DROPOUT = 0.1
REPORT_STEPS = 250

Sample = tuple[list[int], list[bool]]
Batch = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def train(entries: list[Entry], tokenizer: Tokenizer, steps: int = STEPS) -> Network:
    network = Network(Shape(vocabulary=tokenizer.get_vocab_size()), SEED, DROPOUT)
    optimizer = AdamW(network)
    started, smooth = time.monotonic(), 0.0
    for step, batch in zip(range(steps), batches(entries, tokenizer), strict=False):
        loss = network.loss(*batch)
        optimizer.step(rate_at(step, steps))
        smooth = loss if step == 0 else 0.98 * smooth + 0.02 * loss
        if (step + 1) % REPORT_STEPS == 0 or step + 1 == steps:
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{steps}  loss {smooth:.4f}  {seconds:.0f} s", flush=True)
    return network


def rate_at(step: int, steps: int) -> float:
    """A short warm-up, then a half cosine down to 2 %."""
    wave = 0.5 * (1.0 + math.cos(math.pi * step / steps))
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * (0.02 + 0.98 * wave)


def batches(entries: list[Entry], tokenizer: Tokenizer) -> Iterator[Batch]:
    """Each round asks every entry twice first in a conversation; like lengths go together."""
    asker, order = Asker(entries, SEED), random.Random(SEED)
    while True:
        firsts = list(range(len(entries))) * 2
        samples = [tokens_of(tokenizer, asker.conversation(first)) for first in firsts]
        samples.sort(key=lambda sample: len(sample[0]))
        groups: list[list[Sample]] = [[]]
        for sample in samples:
            if groups[-1] and (len(groups[-1]) + 1) * len(sample[0]) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(sample)
        order.shuffle(groups)
        yield from map(pack, groups)


def pack(samples: list[Sample]) -> Batch:
    """Padded inputs, the flat positions whose next token the model writes, and those tokens."""
    length = max(len(tokens) for tokens, _ in samples) - 1
    inputs = np.zeros((len(samples), length), dtype=np.int64)
    rows: list[int] = []
    targets: list[int] = []
    for index, (tokens, own) in enumerate(samples):
        inputs[index, : len(tokens) - 1] = tokens[:-1]
        for place in range(1, len(tokens)):
            if own[place]:
                rows.append(index * length + place - 1)
                targets.append(tokens[place])
    return inputs, np.array(rows), np.array(targets)
