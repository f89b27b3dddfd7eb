"""Every route of the five documents: it is served, and a test sends what its document says."""

from pathlib import Path

import pytest

from mlxgui.openapi.document import document
from tests.server import ROOT

MLX_GUI = "tests/contract/test_documents_mlx_gui.py"
OTHERS = "tests/contract/test_documents_others.py"
LIFE = "tests/system/test_lifecycle.py"
COMPLETIONS = "tests/contract/test_completions.py"
STUDIO = "/api/engine"

# (method, route as the API's document has it) → (test file, the route as that test writes it)
DOCUMENTED: dict[tuple[str, str], tuple[str, str]] = {
    # MLX-GUI
    ("GET", "/"): (MLX_GUI, "/"),
    ("GET", "/health"): (MLX_GUI, "/health"),
    ("GET", "/v1/system/status"): (MLX_GUI, "/v1/system/status"),
    ("POST", "/v1/system/shutdown"): (LIFE, "/v1/system/shutdown"),
    ("POST", "/v1/system/restart"): (LIFE, "/v1/system/restart"),
    ("GET", "/v1/models"): (MLX_GUI, "/v1/models"),
    ("GET", "/v1/models/{name}"): (MLX_GUI, "/v1/models/starter"),
    ("DELETE", "/v1/models/{name}"): (MLX_GUI, "/v1/models/tiny-text?remove_files=false"),
    ("POST", "/v1/models/{name}/load"): (MLX_GUI, "/v1/models/tiny-text/load?priority=0"),
    ("POST", "/v1/models/{name}/unload"): (MLX_GUI, "/v1/models/tiny-text/unload"),
    ("GET", "/v1/models/{name}/health"): (MLX_GUI, "/v1/models/starter/health"),
    ("POST", "/v1/models/{name}/generate"): (MLX_GUI, "/v1/models/starter/generate"),
    ("POST", "/v1/models/install"): (MLX_GUI, "/v1/models/install"),
    ("GET", "/v1/discover/models"): (MLX_GUI, "/v1/discover/models"),
    ("GET", "/v1/discover/popular"): (MLX_GUI, "/v1/discover/popular?limit=5"),
    ("GET", "/v1/discover/categories"): (MLX_GUI, "/v1/discover/categories"),
    ("GET", "/v1/discover/compatible"): (MLX_GUI, "/v1/discover/compatible?query=llama"),
    ("GET", "/v1/discover/models/{repository}"): (MLX_GUI, "/v1/discover/models/mlx-community"),
    ("GET", "/v1/manager/status"): (MLX_GUI, "/v1/manager/status"),
    ("GET", "/v1/manager/models/{name}/status"): (MLX_GUI, "/v1/manager/models/starter/status"),
    ("POST", "/v1/manager/models/{name}/priority"): (
        MLX_GUI,
        "/v1/manager/models/starter/priority",
    ),
    ("GET", "/v1/settings"): (MLX_GUI, "/v1/settings"),
    ("PUT", "/v1/settings/{key}"): (MLX_GUI, "/v1/settings/model_inactivity_timeout_minutes"),
    ("POST", "/v1/chat/completions"): (MLX_GUI, "/v1/chat/completions"),
    ("POST", "/v1/completions"): (MLX_GUI, "/v1/completions"),
    # Silicon Studio
    ("GET", f"{STUDIO}/models"): (OTHERS, f"{STUDIO}/models"),
    ("POST", f"{STUDIO}/models/download"): (OTHERS, f"{STUDIO}/models/download"),
    ("POST", f"{STUDIO}/models/delete"): (OTHERS, f"{STUDIO}/models/delete"),
    ("POST", f"{STUDIO}/models/register"): (OTHERS, f"{STUDIO}/models/register"),
    ("POST", f"{STUDIO}/models/scan"): (OTHERS, f"{STUDIO}/models/scan"),
    ("GET", f"{STUDIO}/models/active"): (OTHERS, f"{STUDIO}/models/active"),
    ("POST", f"{STUDIO}/models/load"): (OTHERS, f"{STUDIO}/models/load"),
    ("POST", f"{STUDIO}/models/unload"): (OTHERS, f"{STUDIO}/models/unload"),
    ("GET", f"{STUDIO}/models/adapters"): (OTHERS, f"{STUDIO}/models/adapters"),
    ("GET", f"{STUDIO}/models/{{name}}/format"): (OTHERS, f"{STUDIO}/models/{{starter}}/format"),
    ("POST", f"{STUDIO}/chat"): (OTHERS, f"{STUDIO}/chat"),
    ("POST", f"{STUDIO}/chat/stop"): (OTHERS, f"{STUDIO}/chat/stop"),
    ("POST", f"{STUDIO}/predict"): (OTHERS, f"{STUDIO}/predict"),
    # the servers of mlx-vlm and mlx-lm, beside what is above
    ("GET", "/models"): (OTHERS, "/models"),
    ("POST", "/chat/completions"): (OTHERS, "/chat/completions"),
    ("POST", "/responses"): (OTHERS, "/responses"),
    ("POST", "/v1/responses"): (OTHERS, "/v1/responses"),
    ("POST", "/unload"): (OTHERS, "/unload"),
}
"""Fine-tuning (`export`, `finetune`, `jobs/{id}` of Silicon Studio) is training's."""
SERVED = document()["paths"]


@pytest.mark.parametrize(("method", "route"), DOCUMENTED)
def test_a_documented_route_is_served_and_tested(method: str, route: str) -> None:
    assert method.lower() in SERVED[route]
    file, written = DOCUMENTED[method, route]
    assert f'"{written}' in (ROOT / Path(file)).read_text()
