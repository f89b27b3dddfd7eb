"""What a person sets for one model: the form of its settings page."""

from pathlib import Path
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from models_app.adapters import adapters_of
from models_app.forms import BUILT_IN, AnswersForm, number, shown, talks
from models_app.inspection import BrokenFolder
from models_app.inspection.architectures import head_numbers
from models_app.inspection.files import read_object
from models_app.models import KvGroup, KvQuantization, Model

LONGEST_CONTEXT = 1 << 24
MOST_DRAFTED = 32
LONGEST_KEEP_MINUTES = 60 * 24 * 365


def choice(label: str, words: str, options: list[tuple[Any, str]], help_text: str) -> Any:
    """A list to choose from, whose first entry leaves it open."""
    return forms.TypedChoiceField(
        label=label, required=False, coerce=int, empty_value=None, help_text=help_text,
        choices=[("", words), *options],
    )  # fmt: skip


class SettingsForm(AnswersForm):
    """Raises nothing; what does not fit is said beside its field."""

    max_kv_tokens = number(
        "Longest context", 16, LONGEST_CONTEXT, whole=True,
        help_text="In tokens. A shorter context takes less memory.",
    )  # fmt: skip
    kv_quantization = choice(
        "KV cache", "As it is computed (16 bits)", list(KvQuantization.choices),
        "4 or 8 bits take a quarter or half of the memory for long conversations.",
    )  # fmt: skip
    kv_group_size = choice(
        "KV group", "64 numbers (built in)", list(KvGroup.choices),
        "So many numbers share one scale. Only with a quantised KV cache.",
    )  # fmt: skip
    kv_start_tokens = number(
        "Quantise from token", 0, LONGEST_CONTEXT, whole=True,
        help_text="The tokens before stay exact. Only with a quantised KV cache.",
    )  # fmt: skip
    chosen_adapter = forms.ChoiceField(
        label="Adapter", required=False, help_text="Fine-tuned weights that go with this model."
    )
    draft_path = forms.ChoiceField(
        label="Draft model",
        required=False,
        help_text="A small model of the same family that guesses ahead. Answers stay the same.",
    )
    draft_tokens = number("Tokens drafted at a time", 1, MOST_DRAFTED, "", whole=True)
    keep_alive_minutes = number(
        "Minutes to stay loaded", -1, LONGEST_KEEP_MINUTES,
        "After the last request. 0 = not at all, -1 = for ever; empty = as in the settings.",
    )  # fmt: skip
    pinned = forms.BooleanField(
        label="Pinned", required=False, help_text="Never unloaded to make room for another model."
    )
    autoload = forms.BooleanField(
        label="Load at start", required=False, help_text="Loaded when the server starts."
    )
    trust_remote_code = forms.BooleanField(
        label="Let this model run program code from its folder", required=False
    )

    STAYING = ("keep_alive_minutes", "pinned", "autoload")
    LOADING: ClassVar[tuple[str, ...]] = (
        "max_kv_tokens", "kv_quantization", "kv_group_size", "kv_start_tokens",
        "chosen_adapter", "draft_path", "draft_tokens",
    )  # fmt: skip

    def __init__(self, *args: Any, model: Model, is_admin: bool, **kwargs: Any) -> None:
        columns = (*self.STAYING, *self.LOADING, "trust_remote_code")
        kwargs["initial"] = {
            **shown(model.defaults),
            **{name: getattr(model, name) for name in columns},
        }
        super().__init__(*args, **kwargs)
        self.model = model
        self.layers = (("the model's generation_config.json", model.generation), BUILT_IN)
        if not talks(model):
            for name in (*self.ANSWERS, *self.TEXTS, *self.LOADING):
                del self.fields[name]
        else:
            self._fill("chosen_adapter", "None", adapter_choices(model))
            self._fill("draft_path", "None", draft_choices(model))
        # A disabled field keeps what is stored, whatever a request says.
        self.fields["trust_remote_code"].disabled = not is_admin

    def _fill(self, name: str, words: str, options: list[tuple[str, str]]) -> None:
        stored = getattr(self.model, name)
        if stored and stored not in dict(options):
            options = [*options, (stored, f"{Path(stored).name} (gone)")]
        self.fields[name].choices = [("", words), *options]  # type: ignore[attr-defined]

    @property
    def loading(self) -> list[forms.BoundField]:
        return [self[name] for name in self.LOADING if name in self.fields]

    @property
    def staying(self) -> list[forms.BoundField]:
        return [self[name] for name in self.STAYING]

    def clean_max_kv_tokens(self) -> int | None:
        tokens: int | None = self.cleaned_data["max_kv_tokens"]
        longest = self.model.context_tokens
        if tokens and longest and tokens > longest:
            raise ValidationError(f"This model reads at most {longest:,} tokens.")
        return tokens

    def clean_draft_path(self) -> str:
        path = str(self.cleaned_data["draft_path"])
        draft = Model.objects.filter(path=path).first() if path else None
        if draft and draft.weights_bytes >= self.model.weights_bytes:
            raise ValidationError(
                f"“{draft.name}” is not smaller than this model, so drafting would slow it down."
            )
        return path

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        bits, path = given.get("kv_quantization"), given.get("draft_path")
        for name in ("kv_group_size", "kv_start_tokens"):
            if given.get(name) and not bits:
                self.add_error(name, "This needs a quantised KV cache: choose 4 or 8 bits.")
        if bits and not self.has_error("kv_group_size"):
            self._check_group(given.get("kv_group_size") or int(KvGroup.MIDDLE))
        if given.get("draft_tokens") and not path:
            self.add_error("draft_tokens", "This needs a draft model: choose one.")
        return given

    def _check_group(self, group: int) -> None:
        try:
            config = read_object(Path(self.model.path) / "config.json")
        except BrokenFolder:
            return  # the folder is refused for that already
        width = head_numbers(config)
        if width and width % group:
            fitting = [str(size) for size in KvGroup.values if width % size == 0]
            way_out = f"Choose {' or '.join(fitting)}." if fitting else "It cannot be quantised."
            self.add_error(
                "kv_group_size" if fitting else "kv_quantization",
                f"A head of this model has {width} numbers, which groups of {group} do not "
                f"divide. {way_out}",
            )

    def save(self) -> list[str]:
        """Write the row's settings, not its facts; the names of the fields that changed."""
        columns = (*self.STAYING, *self.LOADING, "trust_remote_code")
        written = [name for name in columns if name in self.fields]
        for name in written:
            setattr(self.model, name, self.cleaned_data[name])
        if talks(self.model):
            self.model.defaults = self.chosen
            written.append("defaults")
        self.model.save(update_fields=[*written, "updated_at"])
        return self.changed_data


def adapter_choices(model: Model) -> list[tuple[str, str]]:
    return [(row.adapter_path, row.name) for row in adapters_of(model)]


def draft_choices(model: Model) -> list[tuple[str, str]]:
    """Other text models, those of its family first."""
    rows = [row for row in Model.objects.ready().filter(kind=model.kind) if row.pk != model.pk]
    rows.sort(key=lambda row: (row.family != model.family, row.weights_bytes))
    return [(row.path, row.name) for row in rows]
