"""Build the starter model: `python -m mlxgui.engine.jobs.starter --output FOLDER`.

4,500 steps with a fixed seed: 754 s beside other work on a 2-core x86-64 machine, then about a
minute of checking. Ends with status 1 when the saved model answers fewer than 90 % of the guide's
questions.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
WANTED = 0.9


def main() -> int:
    from mlxgui.engine.jobs.starter import saving, training, vocabulary
    from mlxgui.engine.jobs.starter.guide import read_guide

    options = _options(training.STEPS)
    entries = read_guide(options.guide)
    print(f"{len(entries)} questions; learning {vocabulary.SIZE} tokens", flush=True)
    tokenizer = vocabulary.learn(entries)
    network = training.train(entries, tokenizer, options.steps)
    saving.save(network, tokenizer, options.output)
    print(f"saved {network.flat.size:,} weights to {options.output}", flush=True)
    share, failed = saving.score(options.output, [(one.question, one) for one in entries])
    for question in failed:
        print(f"not answered: {question}")
    print(f"{share:.1%} of the guide's questions answered", flush=True)
    if share < WANTED:
        print(f"That is less than {WANTED:.0%}.", flush=True)
        return 1
    variants = [(variant, one) for one in entries for variant in one.variants]
    print(f"{saving.score(options.output, variants)[0]:.1%} of their paraphrases", flush=True)
    return 0


def _options(steps: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="starter", description="Build the starter model.")
    parser.add_argument("--output", type=Path, default=ROOT / "models_app" / "starter")
    parser.add_argument("--guide", type=Path, default=ROOT / "docs" / "guide.jsonl")
    parser.add_argument("--steps", type=int, default=steps)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
