"""Every completion endpoint: a view is a dialect behind the one door."""

from chat_app import answers
from chat_app.answering import completion_view
from mlxgui.openapi.operations import MODEL, operation
from mlxgui.wire import anthropic, anthropic_body, openai_body, openai_chat, openai_text

EVENTS = "text/event-stream"

chat_completions = operation(
    summary="Chat, streamed or whole, as OpenAI's API has it.",
    body=openai_body.Body,
    answer=answers.ChatCompletion,
    media=(EVENTS,),
    refuses=MODEL,
)(completion_view(openai_chat))
completions = operation(
    summary="Text that goes on from a prompt, streamed or whole, as OpenAI's API has it.",
    body=openai_text.Body,
    answer=answers.TextCompletion,
    media=(EVENTS,),
    refuses=MODEL,
)(completion_view(openai_text))
messages = operation(
    summary="Chat, streamed or whole, as Anthropic's API has it.",
    body=anthropic_body.Body,
    answer=answers.AnthropicMessage,
    media=(EVENTS,),
    refuses=MODEL,
)(completion_view(anthropic))
