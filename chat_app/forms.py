from typing import Any

from django import forms

from chat_app.models import Conversation

SAMPLING = ("temperature", "top_p", "max_tokens", "seed")


class ConversationForm(forms.Form):
    """What a person chooses for a conversation. An empty field means: as the model has it."""

    model = forms.CharField(max_length=300, required=False)
    system_prompt = forms.CharField(max_length=100_000, required=False, widget=forms.Textarea)
    temperature = forms.FloatField(min_value=0, max_value=2, required=False)
    top_p = forms.FloatField(min_value=0, max_value=1, required=False)
    max_tokens = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)
    seed = forms.IntegerField(min_value=0, max_value=2**31 - 1, required=False)

    def apply(self, conversation: Conversation) -> None:
        """Take over the fields that came with the request; others stay as they are."""
        values: dict[str, Any] = {
            name: value for name, value in self.cleaned_data.items() if name in self.data
        }
        conversation.model_name = values.get("model") or conversation.model_name
        conversation.system_prompt = values.get("system_prompt", conversation.system_prompt)
        chosen = conversation.sampling | {n: values[n] for n in SAMPLING if n in values}
        conversation.sampling = {name: value for name, value in chosen.items() if value is not None}


class TitleForm(forms.ModelForm):
    class Meta:
        model = Conversation
        fields = ("title",)
