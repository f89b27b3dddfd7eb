"""Forms of a model's settings page: how it answers, how it is loaded, and its profiles.

An empty field means: as the model, the profile's base or this application has it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError

from models_app.models import Model, Profile

LONGEST_PROMPT = 100_000
MOST_STOPS, LONGEST_STOP = 16, 200
KEYWORD = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)
RESERVED = {"messages", "conversation", "tools", "tokenize", "add_generation_prompt"}
THINKING = (("", "As the model does by itself"), ("true", "On"), ("false", "Off"))
LARGEST_SEED = 2**31 - 1


Layer = tuple[str, Mapping[str, Any]]
"""Where values come from, in words; and the values."""

BUILT_IN: Layer = (
    "built in",
    {
        "temperature": "1, on the chat page 0.7",
        "top_p": 1,
        "top_k": 0,
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "max_tokens": "no bound, or as the API has it",
        "seed": "random",
    },
)


def origin(name: str, layers: Sequence[Layer]) -> str:
    """What holds where a field stays empty, and who says so."""
    for words, values in layers:
        if name in values:
            return f"{values[name]} ({words})"
    return "none"


def number(
    label: str, low: float, high: float, help_text: str, *, whole: bool = False
) -> forms.Field:
    """A number with a range; its error names the field and the range."""
    kind: Any = forms.IntegerField if whole else forms.FloatField
    message = f"{label} must be {'a whole number ' if whole else ''}from {low:,} to {high:,}."
    field: forms.Field = kind(
        label=label,
        min_value=low,
        max_value=high,
        required=False,
        help_text=help_text,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), message),
    )
    field.widget.attrs["step"] = 1 if whole else "any"
    return field


class AnswersForm(forms.Form):
    """What a request is filled up with, for the names that it leaves open."""

    temperature = number("Temperature", 0, 5, "0 always takes the likeliest token.")
    top_p = number("Top p", 0, 1, "Draws from the likeliest tokens that together reach this share.")
    top_k = number("Top k", 0, 1_000_000, "Draws from so many tokens; 0 = from all.", whole=True)
    min_p = number("Min p", 0, 1, "Leaves out tokens less likely than this share of the best one.")
    repetition_penalty = number("Repetition penalty", 0, 10, "Above 1, repeating costs.")
    presence_penalty = number("Presence penalty", -2, 2, "For tokens that were there at all.")
    frequency_penalty = number("Frequency penalty", -2, 2, "For each time that a token was there.")
    max_tokens = number(
        "Longest answer", 1, 1_000_000, "In tokens. A request may ask for less or more.", whole=True
    )
    seed = number("Seed", 0, LARGEST_SEED, "The same seed gives the same answer.", whole=True)
    system_prompt = forms.CharField(
        label="System prompt",
        required=False,
        strip=False,
        max_length=LONGEST_PROMPT,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="Put in front of conversations that bring none of their own.",
    )
    stop = forms.CharField(
        label="Stop strings",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One a line. An answer ends before the first of them.",
    )
    enable_thinking = forms.ChoiceField(label="Thinking", required=False, choices=THINKING)
    template_kwargs = forms.CharField(
        label="Values for the chat template",
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text='A JSON object, such as {"reasoning_effort": "low"}.',
    )

    layers: Sequence[Layer] = (BUILT_IN,)
    """Below what a person chooses here, the nearest first."""

    ANSWERS = (
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
        "frequency_penalty", "max_tokens", "seed",
    )  # fmt: skip
    TEXTS = ("system_prompt", "stop", "enable_thinking", "template_kwargs")

    def clean_stop(self) -> list[str]:
        lines = [line for line in self.cleaned_data["stop"].splitlines() if line]
        if len(lines) > MOST_STOPS:
            raise ValidationError(f"At most {MOST_STOPS} stop strings are possible.")
        if any(len(line) > LONGEST_STOP for line in lines):
            raise ValidationError(f"A stop string has at most {LONGEST_STOP} characters.")
        return lines

    def clean_enable_thinking(self) -> bool | None:
        return {"true": True, "false": False}.get(self.cleaned_data["enable_thinking"])

    def clean_template_kwargs(self) -> dict[str, Any]:
        text = self.cleaned_data["template_kwargs"].strip()
        try:
            values = msgspec.json.decode(text or "{}")
        except (msgspec.MsgspecError, RecursionError):
            raise ValidationError("This is not valid JSON. Put names in double quotes.") from None
        if not isinstance(values, dict):
            raise ValidationError("This must be a JSON object: {…} with names and values.")
        if bad := [name for name in values if not KEYWORD.fullmatch(name) or name in RESERVED]:
            raise ValidationError(f"“{bad[0][:64]}” cannot be set here. Take it out.")
        return values

    @property
    def numbers(self) -> Iterator[tuple[forms.BoundField, str, bool]]:
        """Each sampling field, what holds without it, and whether a person set it."""
        for name in self.ANSWERS:
            set_here = self.initial.get(name) is not None
            below = next((values[name] for _, values in self.layers if name in values), "")
            self.fields[name].widget.attrs["placeholder"] = str(below).partition(",")[0]
            yield self[name], origin(name, self.layers), set_here

    @property
    def texts(self) -> Iterator[forms.BoundField]:
        yield from (self[name] for name in self.TEXTS)

    @property
    def chosen(self) -> dict[str, Any]:
        """What a person set, as a row keeps it."""
        given = {name: self.cleaned_data.get(name) for name in (*self.ANSWERS, *self.TEXTS)}
        return {name: value for name, value in given.items() if value not in (None, "", [], {})}


def shown(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values as the fields of `AnswersForm` show them."""
    values = dict(defaults)
    if "stop" in values:
        values["stop"] = "\n".join(values["stop"])
    if "enable_thinking" in values:
        values["enable_thinking"] = str(values["enable_thinking"]).lower()
    if "template_kwargs" in values:
        values["template_kwargs"] = json.dumps(values["template_kwargs"])
    return values


class ProfileForm(AnswersForm):
    name = forms.CharField(label="Name", max_length=60)
    adapter = forms.ChoiceField(label="Adapter", required=False)

    def __init__(
        self, *args: Any, profile: Profile, adapters: list[tuple[str, str]], **kwargs: Any
    ) -> None:
        kwargs.setdefault("initial", {
            **shown(profile.defaults), "name": profile.name, "adapter": profile.adapter_path,
        })  # fmt: skip
        super().__init__(*args, **kwargs)
        self.profile = profile
        self.fields["adapter"].choices = [("", "As the model has it"), *adapters]  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        """What a profile itself asks of its name, and that no other profile has it."""
        name = str(self.cleaned_data["name"]).strip()
        field: Any = Profile._meta.get_field("name")
        run(field.validators, name)
        others = Profile.objects.filter(model=self.profile.model, name=name)
        if others.exclude(pk=self.profile.pk).exists():
            raise ValidationError(f"There is already a profile “{name}”. Choose another name.")
        return name

    def save(self) -> Profile:
        self.profile.name = self.cleaned_data["name"]
        self.profile.defaults = self.chosen
        self.profile.adapter_path = self.cleaned_data["adapter"]
        self.profile.save()
        return self.profile


def run(checks: list[Callable[[str], None]], value: str) -> None:
    for check in checks:
        check(value)


def talks(model: Model) -> bool:
    """Whether it writes: sampling, prompts and a KV cache mean something for it."""
    return model.kind in ("text", "vision", "fake")
