"""What the chat does when the server starts."""

from asgiref.sync import sync_to_async

from chat_app.models import Message
from chat_app.replies import STARTED_AT
from mlxgui.runtime import Runtime, at_start


@at_start
async def close_abandoned_replies(runtime: Runtime) -> None:
    """No reply outlives its server: those that an earlier one left open are over."""
    await sync_to_async(Message.objects.fail_abandoned)(before=STARTED_AT)
