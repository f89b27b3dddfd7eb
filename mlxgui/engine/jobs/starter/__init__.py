"""The starter model: a tiny Qwen3 trained on `docs/guide.jsonl`, built by `__main__`."""

import os

# One BLAS thread, set before numpy is imported: such small products gain nothing from several
# (spinning threads make a busy machine five times slower), and the result does not depend on
# how many cores there are.
for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(name, "1")
