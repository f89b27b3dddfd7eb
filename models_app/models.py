"""Models: one row for each folder that holds one, with its facts and its settings.

Whether a model is loaded is not stored: the pool knows. See states.py.
"""

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from asgiref.sync import sync_to_async
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from msgspec.structs import replace

from mlxgui.engine.backends import MODULES
from mlxgui.engine.errors import LoadFailed, ModelNotFound
from mlxgui.engine.model_files import weights_bytes
from mlxgui.engine.spec import LoadOptions, ModelSpec

LARGEST_ID = 2**63 - 1


class ModelQuerySet(models.QuerySet["Model"]):
    def ready(self) -> Self:
        """Those that can be loaded."""
        return self.filter(error_message="", kind__in=MODULES)

    def resolve(self, name: str) -> "Model":
        """By name, repository id, uuid, integer id or folder, in this order; `model:profile` is
        the model's row with that profile's values in front of its own.

        Raises ModelNotFound. `name@adapter` is kept free for a base with an adapter.
        """
        found = {_rank(model, name): model for model in self.filter(_any_identity(name))[:10]}
        if found:
            return found[min(found)]
        base, colon, called = name.rpartition(":")
        if not colon or "@" in called:
            raise ModelNotFound(_not_found_message(name))
        return self.resolve(base).with_profile(called)

    async def aresolve(self, name: str) -> "Model":
        return await sync_to_async(self.resolve)(name)

    def record_uses(self, count: int) -> int:
        """Count so many requests for each row, the last of them now."""
        return self.update(use_count=F("use_count") + count, last_used_at=timezone.now())


def _any_identity(name: str) -> Q:
    wanted = Q(name=name) | (Q(huggingface_id=name) & ~Q(huggingface_id=""))
    if name.startswith("/"):
        wanted |= Q(path=name.rstrip("/"))
    if name.isascii() and name.isdigit() and int(name) <= LARGEST_ID:
        wanted |= Q(pk=int(name))
    with suppress(ValueError):
        wanted |= Q(uuid=uuid.UUID(name))
    return wanted


def _rank(model: "Model", name: str) -> tuple[int, bool, int]:
    """The better match first; of two folders of one repository the one that can be loaded."""
    identities = (model.name, model.huggingface_id, str(model.uuid), str(model.pk))
    place = identities.index(name) if name in identities else len(identities)
    return place, bool(model.error_message), model.pk


def _not_found_message(name: str) -> str:
    base, at, adapter = name.partition("@")
    if at:
        return f"Model '{base}' has no adapter '{adapter}'"
    return f"Model '{name}' not found"


# `@` names an adapter, `:` a profile, `/` a repository.
plain_name = RegexValidator(r"\A[^@:/\x00-\x1f]+\Z", "A name has no @, : or / in it.")


class Kind(models.TextChoices):
    TEXT = "text", "text"
    VISION = "vision", "vision"
    EMBEDDING = "embedding", "embedding"
    RERANK = "rerank", "reranking"
    STT = "stt", "speech to text"
    TTS = "tts", "text to speech"
    IMAGE = "image", "image"
    FAKE = "fake", "fake"


class Source(models.TextChoices):
    STARTER = "starter", "comes with this application"
    FOLDER = "folder", "models folder"
    HUB_CACHE = "hub_cache", "Hugging Face cache"
    LM_STUDIO = "lm_studio", "LM Studio"
    REGISTERED = "registered", "registered folder"


class KvQuantization(models.IntegerChoices):
    FOUR = 4, "4 bits"
    EIGHT = 8, "8 bits"


class KvGroup(models.IntegerChoices):
    SMALL = 32, "32 numbers"
    MIDDLE = 64, "64 numbers"
    LARGE = 128, "128 numbers"


class Model(models.Model):
    # What it is called and where it lies.
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=200, unique=True, validators=[plain_name])
    path = models.CharField("folder", max_length=1000, unique=True)
    source = models.CharField(max_length=20, choices=Source, default=Source.FOLDER)
    huggingface_id = models.CharField("repository", max_length=200, blank=True, db_index=True)
    author = models.CharField(max_length=100, blank=True)
    version = models.CharField(max_length=100, blank=True)

    # What it is, as its files say. The scanner writes these and nobody else.
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.TEXT)
    architecture = models.CharField(max_length=100, blank=True)
    family = models.CharField(max_length=100, blank=True)
    context_tokens = models.PositiveIntegerField("context window in tokens", default=0)
    quantization = models.CharField(max_length=20, blank=True)
    parameters = models.PositiveBigIntegerField(default=0)
    weights_bytes = models.PositiveBigIntegerField("size on disk in bytes", default=0)
    memory_bytes = models.PositiveBigIntegerField("memory needed in bytes", default=0)
    generation = models.JSONField("what generation_config.json asks for", default=dict, blank=True)
    capabilities = models.JSONField(default=dict, blank=True)
    is_finetuned = models.BooleanField("fine-tuned here", default=False)
    base_model = models.CharField(max_length=200, blank=True)
    adapter_path = models.CharField("adapter folder", max_length=1000, blank=True)
    error_message = models.TextField("why it cannot be loaded", blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    # What a person sets.
    defaults = models.JSONField(
        default=dict,
        blank=True,
        help_text="Sampling values and system prompt for requests that do not give their own.",
    )
    kv_quantization = models.PositiveSmallIntegerField(
        "KV cache quantisation", choices=KvQuantization, null=True, blank=True
    )
    kv_group_size = models.PositiveSmallIntegerField(
        "KV cache group size", choices=KvGroup, null=True, blank=True
    )
    kv_start_tokens = models.PositiveIntegerField(
        "tokens before quantisation begins", null=True, blank=True
    )
    max_kv_tokens = models.PositiveIntegerField("longest context", null=True, blank=True)
    chosen_adapter = models.CharField("folder of its adapter", max_length=1000, blank=True)
    draft_path = models.CharField("folder of its draft model", max_length=1000, blank=True)
    draft_tokens = models.PositiveSmallIntegerField(null=True, blank=True)
    trust_remote_code = models.BooleanField("may run its own program code", default=False)
    pinned = models.BooleanField(
        default=False, help_text="Never unloaded to make room for another model."
    )
    keep_alive_minutes = models.FloatField(
        null=True,
        blank=True,
        help_text="Idle minutes before it is unloaded. Empty: as in the settings. Negative: never.",
    )
    autoload = models.BooleanField(
        "load at start", default=False, help_text="Loaded when the server starts."
    )

    # What happened to it.
    load_error = models.TextField("why it failed to load last time", blank=True)
    use_count = models.PositiveBigIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        """What the pool calls its worker."""
        return self._spec().key

    @property
    def is_ready(self) -> bool:
        """Whether it can be loaded: the folder is sound, and its kind is served."""
        return not self.error_message and self.kind in MODULES

    @property
    def is_starter(self) -> bool:
        return self.source == Source.STARTER

    @property
    def can_chat(self) -> bool:
        return self.is_ready and self.kind in (Kind.TEXT, Kind.VISION, Kind.FAKE)

    @property
    def abilities(self) -> list[str]:
        """In words, for a page."""
        words = {"chat_template": "chat"}
        return [words.get(name, name) for name, has in self.capabilities.items() if has]

    profile: "Profile | None" = None
    """The profile that this row was asked for under; never stored with the row."""

    def with_profile(self, name: str) -> Self:
        """This row as asked for under one of its profiles. Raises ModelNotFound."""
        self.profile = self.profiles.filter(name=name).first()
        if self.profile is None:
            raise ModelNotFound(f"Model '{self.name}' has no profile '{name}'")
        return self

    @property
    def sampling_defaults(self) -> dict[str, Any]:
        """For what a request leaves open: the profile's values, a person's settings, the model's
        own, in this order."""
        own = self.profile.defaults if self.profile else {}
        return {**self.generation, **self.defaults, **own}

    def spec(self) -> ModelSpec:
        """What the engine needs to load it. Raises LoadFailed for a broken folder."""
        if self.error_message:
            raise LoadFailed(f"Model '{self.name}' cannot be loaded. {self.error_message}")
        for folder, what in ((self._adapter, "adapter"), (self.draft_path, "draft model")):
            if folder and not Path(folder).is_dir():
                raise LoadFailed(
                    f"The {what} that was chosen for “{self.name}” is gone. Choose another, or "
                    "none, on the model's settings page."
                )
        spec = self._spec()
        return replace(spec, memory_bytes=memory_with(spec)) if spec.adapter_path else spec

    @property
    def _adapter(self) -> str:
        return (self.profile.adapter_path if self.profile else "") or self.chosen_adapter

    def _spec(self) -> ModelSpec:
        minutes = self.keep_alive_minutes
        named = (
            f"{self.name}:{self.profile.name}" if self.profile and self.profile.adapter_path else ""
        )
        return ModelSpec(
            name=named or self.name,
            path=self.path,
            kind=self.kind,  # type: ignore[arg-type]  # Kind holds the same words
            adapter_path=self._adapter or self.adapter_path,
            memory_bytes=self.memory_bytes,
            context_tokens=self.context_tokens,
            keep_alive_seconds=None if minutes is None else minutes * 60,
            pinned=self.pinned,
            options=self.load_options,
            chosen=tuple(self._chosen_options()),
        )

    @property
    def load_options(self) -> LoadOptions:
        """What a person chose for its worker; the pool's own for what is left open."""
        return LoadOptions(**self._chosen_options())

    def _chosen_options(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {
            "kv_bits": self.kv_quantization,
            "kv_group_size": self.kv_group_size,
            "kv_start_tokens": self.kv_start_tokens,
            "max_kv_tokens": self.max_kv_tokens,
            "draft_path": self.draft_path,
            "draft_tokens": self.draft_tokens,
            "warm_prompts": [text] if (text := self.defaults.get("system_prompt")) else None,
            "trust_remote_code": self.trust_remote_code,
        }
        return {name: value for name, value in chosen.items() if value not in (None, "")}


def memory_with(spec: ModelSpec) -> int:
    """Bytes of the model together with its adapter."""
    return spec.memory_bytes + weights_bytes(Path(spec.adapter_path))


class ForgottenFolder(models.Model):
    """A folder whose entry was removed and whose files were kept: scans pass it by."""

    path = models.CharField("folder", max_length=1000, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.path


# Django looks for rows in this module.
from models_app.downloads import Download  # noqa: E402
from models_app.profiles import Profile  # noqa: E402

__all__ = ["Download", "ForgottenFolder", "Kind", "Model", "Profile", "Source"]
