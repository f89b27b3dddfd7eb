"""Profiles: other ways to ask the same loaded model, each with a name of its own."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

# `latest` is what Ollama's clients add to every name; it means the model itself.
plain_profile = RegexValidator(
    r"\A[\w][\w .-]*\Z", "A profile's name has letters, digits, spaces, dots and hyphens only."
)
TAKEN = "latest"


def check_free(name: str) -> None:
    if name.lower() == TAKEN:
        raise ValidationError(f"“{TAKEN}” stands for the model itself. Choose another name.")


class Profile(models.Model):
    """Values for requests that name `model:profile` as their model. No worker of its own, unless
    it brings an adapter."""

    model = models.ForeignKey("models_app.Model", on_delete=models.CASCADE, related_name="profiles")
    name = models.CharField(max_length=60, validators=[plain_profile, check_free])
    defaults = models.JSONField(default=dict, blank=True)
    adapter_path = models.CharField("folder of its adapter", max_length=1000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "name"], name="one_profile_per_name")
        ]

    def __str__(self) -> str:
        return f"{self.model.name}:{self.name}"

    @property
    def summary(self) -> list[str]:
        """Its values in short, for a list."""
        return [short(name, value) for name, value in self.defaults.items()]


def short(name: str, value: Any) -> str:
    text = str(value)
    words = name.replace("_", " ")
    return f"{words}: {text if len(text) <= 40 else text[:39] + '…'}"
