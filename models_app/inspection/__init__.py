"""What a model folder holds, read without loading it. Pure Python: no Django, no mlx."""

from models_app.inspection.facts import BrokenFolder, Facts
from models_app.inspection.look import fingerprint, inspect

__all__ = ["BrokenFolder", "Facts", "fingerprint", "inspect"]
