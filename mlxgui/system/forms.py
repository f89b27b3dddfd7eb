"""Forms of the admin and of the first account."""

from typing import Any, ClassVar

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User

from mlxgui.system import keys
from mlxgui.system.definitions import Definition, Value
from mlxgui.system.models import Setting


def field_for(definition: Definition) -> forms.Field:
    """A checkbox, a number with its range, a list to choose from, or a line of text."""
    common: dict[str, Any] = {"help_text": definition.description, "required": False}
    if isinstance(definition.default, bool):
        return forms.BooleanField(**common)
    if isinstance(definition.default, int):
        return forms.IntegerField(
            min_value=definition.minimum,
            max_value=definition.maximum,
            help_text=definition.description,
        )
    if definition.choices:
        return forms.ChoiceField(choices=[(one, one) for one in definition.choices], **common)
    if definition.secret:
        return forms.CharField(max_length=1000, widget=forms.PasswordInput, **common)
    return forms.CharField(max_length=1000, **common)


class SettingForm(forms.ModelForm):
    """One setting, with the field that its type asks for."""

    class Meta:
        model = Setting
        fields = ("value",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["value"] = field_for(self.instance.definition)
        self.initial["value"] = self.instance.effective
        if self.instance.definition.secret:
            self.initial["value"] = ""
            self.fields["value"].help_text += " Leave this empty to keep what is stored."

    def clean_value(self) -> Value:
        if self.instance.definition.secret and not self.cleaned_data["value"]:
            return self.instance.effective
        return self.instance.definition.clean(self.cleaned_data["value"])


class FirstAccountForm(UserCreationForm):
    """Name and password of the account that may do everything."""

    class Meta:
        model = User
        fields = ("username",)
        widgets: ClassVar = {"username": forms.TextInput(attrs={"autocomplete": "username"})}

    def save(self, commit: bool = True) -> User:
        user = super().save(commit=False)
        user.is_staff = user.is_superuser = True
        if commit:
            user.save()
        return user


class KeyForm(forms.Form):
    key = forms.CharField(label="API key", widget=forms.PasswordInput, max_length=500)

    def clean_key(self) -> str:
        if not keys.is_right(self.cleaned_data["key"].strip()):
            raise forms.ValidationError("This is not the key of this server.")
        return self.cleaned_data["key"]
