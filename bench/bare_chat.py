"""The ceiling for conversations: mlx-lm in a bare loop that keeps one KV cache and prefills only
what is new. A JSON line in, {"messages": [...], "max_tokens": n}, a JSON line out,
{"first_token_seconds", "new_tokens", "text"}."""

import json
import sys
import time
from typing import Any

from mlx_lm import load
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache, trim_prompt_cache
from mlx_lm.sample_utils import make_sampler


class Loop:
    def __init__(self, folder: str) -> None:
        self.model, self.tokenizer = load(folder)[:2]
        self.cache = make_prompt_cache(self.model)
        self.known: list[int] = []

    def answer(self, messages: list[dict[str, str]], max_tokens: int) -> dict[str, Any]:
        import mlx.core as mx

        started = time.perf_counter()
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        same = self._reuse(ids)
        first, said = 0.0, []
        steps = generate_step(
            mx.array(ids[same:]),
            self.model,
            max_tokens=max_tokens,
            sampler=make_sampler(temp=0.0),
            prompt_cache=self.cache,
        )
        for token, _ in steps:
            first = first or time.perf_counter() - started
            if int(token) in self.tokenizer.eos_token_ids:
                break
            said.append(int(token))
        self.known = [*ids, *said][: self.cache[0].offset]
        text = self.tokenizer.decode(said)
        return {"first_token_seconds": first, "new_tokens": len(ids) - same, "text": text}

    def _reuse(self, ids: list[int]) -> int:
        """How many tokens of the prompt are in the cache; the cache is cut behind them."""
        same = 0
        while same < min(len(ids) - 1, len(self.known)) and ids[same] == self.known[same]:
            same += 1
        trim_prompt_cache(self.cache, self.cache[0].offset - same)
        return same


def main(folder: str) -> None:
    loop = Loop(folder)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(loop.answer(job["messages"], job["max_tokens"])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
