"""The ceiling: mlx-lm's BatchGenerator in a bare loop. Prints one JSON line per measurement asked
for on stdin: {"prompts": [...], "max_tokens": n} → {"tokens_per_second", "first_token_seconds"}."""

import json
import sys
import time

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import BatchGenerator


def main(folder: str) -> None:
    model, tokenizer = load(folder)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(measure(model, tokenizer, job["prompts"], job["max_tokens"])), flush=True)


def measure(
    model: object, tokenizer: object, prompts: list[str], max_tokens: int
) -> dict[str, float]:
    started = time.perf_counter()
    ids = [
        tokenizer.apply_chat_template(  # type: ignore[attr-defined]
            [{"role": "user", "content": text}], add_generation_prompt=True
        )
        for text in prompts
    ]
    generator = BatchGenerator(
        model,
        stop_tokens=[[token] for token in tokenizer.eos_token_ids],  # type: ignore[attr-defined]
        stream=mx.default_stream(mx.default_device()),
    )
    generator.insert(ids, [max_tokens] * len(ids))
    firsts: dict[int, float] = {}
    count = 0
    while responses := generator.next_generated():
        now = time.perf_counter()
        for response in responses:
            firsts.setdefault(response.uid, now - started)
            count += 1
    seconds = time.perf_counter() - started
    generator.close()
    ordered = sorted(firsts.values())
    return {
        "tokens_per_second": count / seconds,
        "first_token_seconds": ordered[len(ordered) // 2],
    }


if __name__ == "__main__":
    main(sys.argv[1])
