"""The small model that drafts for another one, named by a request."""

from msgspec import structs

from mlxgui.engine.errors import BadRequest, ModelNotFound, Unsupported
from mlxgui.engine.spec import ModelSpec
from mlxgui.engine.types import GenerationRequest
from models_app.adapters import aspec_for

PARAM = "draft_model"


async def with_draft(
    asked: list[GenerationRequest], name: str, spec: ModelSpec
) -> list[GenerationRequest]:
    """The requests with the folder of the draft model in them; unchanged where none is named.

    Only models that the library lists can be named. Raises BadRequest, Unsupported.
    """
    if not name:
        return asked
    if spec.kind != "text":
        raise Unsupported("Only a text model can have a draft model.", param=PARAM)
    try:
        _, draft = await aspec_for(name)
    except ModelNotFound as error:
        raise BadRequest(error.message, param=PARAM) from error
    if draft.kind != "text":
        raise BadRequest(f"“{draft.name}” is no text model, so it cannot draft.", param=PARAM)
    return [structs.replace(one, draft_path=draft.path) for one in asked]
