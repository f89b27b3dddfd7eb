"""Every setting that people change while the server runs: type, range, default, meaning."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from django.core.exceptions import ValidationError

type Value = bool | int | str
Applies = Literal[
    "at once", "to models loaded from now on", "after a restart", "at the next rescan"
]


HIDDEN = "********"


@dataclass(frozen=True, kw_only=True)
class Definition:
    key: str
    default: Value
    description: str
    applies: Applies = "at once"
    minimum: int = 0
    maximum: int = 0
    choices: tuple[str, ...] = ()
    secret: bool = False
    """Written, used, and never shown again."""

    def shown(self, value: Value) -> Value:
        """As a list or an answer may show it."""
        return (HIDDEN if value else "") if self.secret else value

    def clean(self, value: object) -> Value:
        """The value as it is stored. Raises ValidationError with a sentence for people."""
        if type(value) is not type(self.default):
            raise ValidationError(f"{self.key} must be {self.type_words}.")
        if isinstance(value, int) and not isinstance(value, bool):
            self._check_range(value)
        if self.choices and value not in self.choices:
            raise ValidationError(f"{self.key} must be one of: {', '.join(self.choices)}.")
        if check := CHECKS.get(self.key):
            check(value)
        return value

    def _check_range(self, value: int) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValidationError(
                f"{self.key} must be from {self.minimum} to {self.maximum}, not {value}."
            )

    @property
    def type_words(self) -> str:
        if isinstance(self.default, bool):
            return "true or false"
        return "a whole number" if isinstance(self.default, int) else "text"


def check_folder(value: object) -> None:
    if value and not (Path(str(value)).is_absolute() and Path(str(value)).is_dir()):
        raise ValidationError("huggingface_cache_dir must be an existing folder, from / on.")


def check_token(value: object) -> None:
    if not (str(value).isascii() and str(value).isprintable()) or " " in str(value):
        raise ValidationError("huggingface_token must be a token as the hub gives it: hf_...")


def check_reachable(value: object) -> None:
    """Otherwise the next start would be refused, and this row could not be changed back."""
    if value and not os.environ.get("MLX_GUI_API_KEY"):
        raise ValidationError(
            "Set MLX_GUI_API_KEY before the server may listen beyond this computer."
        )


CHECKS = {
    "huggingface_cache_dir": check_folder,
    "huggingface_token": check_token,
    "bind_to_all_interfaces": check_reachable,
}

DEFINITIONS: dict[str, Definition] = {
    definition.key: definition
    for definition in (
        Definition(
            key="server_port",
            default=8000,
            minimum=1,
            maximum=65535,
            applies="after a restart",
            description="The port to listen on. MLX_GUI_PORT and --port go before it.",
        ),
        Definition(
            key="max_concurrent_requests",
            default=5,
            minimum=1,
            maximum=256,
            description="How many requests one model answers at the same time. More of them wait.",
        ),
        Definition(
            key="max_waiting_requests",
            default=64,
            minimum=0,
            maximum=10_000,
            description="How many requests may wait for one model. Beyond that the answer is 503.",
        ),
        Definition(
            key="request_timeout_minutes",
            default=60,
            minimum=0,
            maximum=1440,
            description="How long one request may take, from its arrival to its last token. "
            "0: as long as it needs.",
        ),
        Definition(
            key="max_concurrent_models",
            default=3,
            minimum=1,
            maximum=64,
            description="How many models stay in memory. The one unused for longest leaves first.",
        ),
        Definition(
            key="prompt_cache_memory_percent",
            default=20,
            minimum=0,
            maximum=80,
            applies="to models loaded from now on",
            description="How much of the memory for models keeps prompts that were read, so that "
            "the next turn of a conversation starts at once. Models share it evenly.",
        ),
        Definition(
            key="prompt_cache_disk_gb",
            default=10,
            minimum=0,
            maximum=4096,
            applies="to models loaded from now on",
            description="How much disk each model may use to keep prompts over a restart. 0: none.",
        ),
        Definition(
            key="auto_unload_inactive_models",
            default=True,
            description="Whether models that nobody uses are unloaded by themselves.",
        ),
        Definition(
            key="model_inactivity_timeout_minutes",
            default=30,
            minimum=1,
            maximum=10_080,
            description="How long a model may be idle before it is unloaded.",
        ),
        Definition(
            key="enable_gpu_acceleration",
            default=True,
            applies="to models loaded from now on",
            description="Whether models run on the GPU. Without one they run on the CPU anyway.",
        ),
        Definition(
            key="raise_wired_limit",
            default=False,
            applies="to models loaded from now on",
            description="Whether macOS may keep a whole model wired in memory. Faster for models "
            "that hardly fit, but it has been seen to make macOS restart, so it is off.",
        ),
        Definition(
            key="allow_remote_images",
            default=False,
            description="Whether images that a request gives as an http(s) address are fetched. "
            "Only from public addresses, 20 MB at most. Off: clients send the image itself.",
        ),
        Definition(
            key="huggingface_cache_dir",
            default="",
            applies="at the next rescan",
            description="The folder of the Hugging Face cache. Empty: the usual one, "
            "~/.cache/huggingface/hub or what HF_HOME and HF_HUB_CACHE say.",
        ),
        Definition(
            key="huggingface_token",
            default="",
            secret=True,
            description="A token of huggingface.co, for gated and private models and higher "
            "limits. Goes before HF_TOKEN. It is stored, used, and not shown again.",
        ),
        Definition(
            key="max_concurrent_downloads",
            default=2,
            minimum=1,
            maximum=16,
            description="How many models are downloaded at the same time. More of them wait.",
        ),
        Definition(
            key="log_level",
            default="INFO",
            choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
            description="How much the server writes on the terminal.",
        ),
        Definition(
            key="bind_to_all_interfaces",
            default=False,
            applies="after a restart",
            description="Whether other computers may connect. Needs MLX_GUI_API_KEY.",
        ),
        Definition(
            key="enable_system_tray",
            default=True,
            description="Whether macOS shows an icon in the menu bar: what is loaded, open, unload "
            "all, quit. Needs `pip install -r requirements-tray.txt`. On other systems it has no "
            "effect.",
        ),
    )
}
