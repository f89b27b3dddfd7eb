"""The document over HTTP."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified

from mlxgui.api import json_api
from mlxgui.openapi.document import made
from mlxgui.openapi.operations import operation


@operation("GET", answer=dict[str, Any], answers={304: None})
@json_api("GET", "HEAD")
async def openapi(request: HttpRequest) -> HttpResponse:
    """This document: every route with its types, as OpenAPI 3.1."""
    found = made()
    if request.headers.get("If-None-Match") == found.etag:
        response: HttpResponse = HttpResponseNotModified()
    else:
        response = HttpResponse(found.body, content_type="application/json")
    response["ETag"] = found.etag
    response["Cache-Control"] = "no-cache"
    return response
