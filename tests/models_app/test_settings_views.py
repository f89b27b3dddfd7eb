"""A model's settings page and its profiles, as forms without script."""

import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from mlxgui.runtime import Runtime
from models_app import library
from models_app.models import Model, Profile
from tests.factories import make_model
from tests.models_app.folders import make_folder

pytestmark = pytest.mark.django_db(transaction=True)

amake_model = sync_to_async(make_model)


def address(model: Model, rest: str = "settings/") -> str:
    return f"/library/{model.uuid}/{rest}"


async def text_of(client: AsyncClient, model: Model, rest: str = "settings/") -> str:
    response = await client.get(address(model, rest))
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


async def save(client: AsyncClient, model: Model, **values: Any) -> Any:
    return await client.post(address(model), values)


async def test_the_page_says_where_each_value_comes_from(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model(
        "echo", generation={"temperature": 0.6, "top_p": 0.9}, defaults={"temperature": 0.3}
    )
    page = await text_of(async_client, model)
    assert 'value="0.3"' in page
    assert "Your setting.</strong> Without it: 0.6 (the model&#x27;s generation_config" in page
    assert "In force: 0.9 (the model&#x27;s generation_config.json)" in page
    assert "In force: 0 (built in)" in page


async def test_what_is_saved_is_shown_again_and_used(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo")
    response = await save(
        async_client, model, temperature="0", top_k="5", system_prompt="Rhyme.", stop="END\nSTOP",
        enable_thinking="false", template_kwargs='{"effort": "low"}', keep_alive_minutes="5",
        pinned="on", autoload="on",
    )  # fmt: skip
    assert (response.status_code, response["Location"]) == (302, address(model))
    await model.arefresh_from_db()
    assert model.defaults == {
        "temperature": 0.0, "top_k": 5, "system_prompt": "Rhyme.", "stop": ["END", "STOP"],
        "enable_thinking": False, "template_kwargs": {"effort": "low"},
    }  # fmt: skip
    assert (model.keep_alive_minutes, model.pinned, model.autoload) == (5, True, True)
    page = await text_of(async_client, model)
    assert "END STOP" in page
    assert "Saved." in page


async def test_an_empty_form_forgets_everything(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", defaults={"temperature": 0.5}, pinned=True)
    await save(async_client, model)
    await model.arefresh_from_db()
    assert (model.defaults, model.pinned) == ({}, False)


async def test_counts_of_use_survive_a_save(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo", use_count=7, context_tokens=99)
    await save(async_client, model, temperature="1")
    await model.arefresh_from_db()
    assert (model.use_count, model.context_tokens) == (7, 99)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": "9"}, "Temperature must be from 0 to 5."),
        ({"temperature": "warm"}, "Temperature must be from 0 to 5."),
        ({"temperature": "nan"}, "Temperature must be from 0 to 5."),
        ({"top_p": "1.1"}, "Top p must be from 0 to 1."),
        ({"top_k": "1.5"}, "Top k must be a whole number from 0"),
        ({"min_p": "-1"}, "Min p must be from 0 to 1."),
        ({"presence_penalty": "3"}, "Presence penalty must be from -2 to 2."),
        ({"max_tokens": "0"}, "Longest answer must be a whole number from 1"),
        ({"seed": "-1"}, "Seed must be a whole number from 0"),
        ({"stop": "x\n" * 17}, "At most 16 stop strings"),
        ({"stop": "x" * 201}, "at most 200 characters"),
        ({"system_prompt": "x" * 100_001}, "at most 100000 characters"),
        ({"enable_thinking": "maybe"}, "Select a valid choice"),
        ({"template_kwargs": "{"}, "not valid JSON"),
        ({"template_kwargs": '{"a": NaN}'}, "not valid JSON"),
        ({"template_kwargs": "[1]"}, "must be a JSON object"),
        ({"template_kwargs": '{"messages": []}'}, "“messages” cannot be set here"),
        ({"max_kv_tokens": "5000"}, "This model reads at most 4,096 tokens."),
        ({"kv_quantization": "5"}, "Select a valid choice"),
        ({"kv_group_size": "32"}, "This needs a quantised KV cache"),
        ({"kv_start_tokens": "32"}, "This needs a quantised KV cache"),
        ({"draft_path": "/etc"}, "Select a valid choice"),
        ({"draft_tokens": "4"}, "This needs a draft model"),
        ({"chosen_adapter": "/etc"}, "Select a valid choice"),
        ({"keep_alive_minutes": "-5"}, "Minutes to stay loaded must be from -1"),
    ],
)
async def test_each_field_says_what_does_not_fit(
    async_client: AsyncClient, runtime: Runtime, values: dict[str, str], words: str
) -> None:
    model = await amake_model("echo", defaults={"temperature": 0.5})
    response = await save(async_client, model, **{"min_p": "0.125", **values})
    page = response.content.decode()
    assert (response.status_code, words in page) == (400, True)
    if "min_p" not in values:
        assert 'value="0.125"' in page  # what was typed beside is not lost
    await model.arefresh_from_db()
    assert model.defaults == {"temperature": 0.5}


async def test_a_group_must_divide_the_models_heads(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    config = {"model_type": "qwen3", "head_dim": 96, "num_attention_heads": 1}
    folder = make_folder(tmp_path, config=config)
    model = await amake_model("wide", path=str(folder), kind="text")
    page = (await save(async_client, model, kv_quantization="8")).content.decode()
    assert "A head of this model has 96 numbers" in page
    assert "Choose 32." in page
    assert (await save(async_client, model, kv_quantization="8", kv_group_size="32")).status_code


async def test_a_draft_must_be_smaller(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("big", path="/big", weights_bytes=100)
    await amake_model("bigger", path="/bigger", weights_bytes=200)
    await amake_model("small", path="/small", weights_bytes=10)
    page = (await save(async_client, model, draft_path="/bigger")).content.decode()
    assert "“bigger” is not smaller than this model" in page
    assert (await save(async_client, model, draft_path="/small", draft_tokens="4")).headers[
        "Location"
    ]
    await model.arefresh_from_db()
    assert (model.load_options.draft_path, model.load_options.draft_tokens) == ("/small", 4)


async def test_what_the_engine_gets(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo")
    await save(
        async_client, model, kv_quantization="8", kv_group_size="32", kv_start_tokens="100",
        max_kv_tokens="2048", system_prompt="Be brief.",
    )  # fmt: skip
    options = (await Model.objects.aget()).spec().options
    assert (options.kv_bits, options.kv_group_size, options.kv_start_tokens) == (8, 32, 100)
    assert (options.max_kv_tokens, options.warm_prompts) == (2048, ["Be brief."])


async def test_a_loaded_model_is_reloaded_where_its_options_changed(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo")
    await runtime.pool.load(model.spec())
    before = runtime.pool.residents()[0].pid
    await save(async_client, model, temperature="0.5", system_prompt="Hi", keep_alive_minutes="1")
    assert "Reload now" not in await text_of(async_client, model)  # all of that holds at once
    await save(async_client, model, kv_quantization="8")
    assert "Reload now" in await text_of(async_client, model)
    response = await async_client.post(address(model, "reload/"))
    assert response["Location"] == address(model)
    assert "Reload now" not in await text_of(async_client, model)
    assert runtime.pool.residents()[0].pid != before


async def test_pinning_holds_for_a_model_that_is_loaded(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo")
    await runtime.pool.load(model.spec())
    await save(async_client, model, pinned="on")
    assert [place.spec.pinned for place in runtime.pool._places.values()] == [True]


async def test_a_gone_adapter_is_said(async_client: AsyncClient, runtime: Runtime) -> None:
    model = await amake_model("echo", chosen_adapter="/gone/adapter")
    assert "adapter (gone)" in await text_of(async_client, model)
    response = await async_client.post("/v1/models/echo/load")
    assert "adapter that was chosen for “echo” is gone" in response.json()["detail"]


async def test_models_that_do_not_write_have_no_sampling(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("ears", kind="stt")
    page = await text_of(async_client, model)
    assert "Temperature" not in page
    assert (await save(async_client, model, pinned="on")).status_code == 302
    assert (await Model.objects.aget()).pinned


# -- program code ---------------------------------------------------------------------------------


async def test_only_an_administrator_may_allow_program_code(
    async_client: AsyncClient, runtime: Runtime, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, "own", files={"own.py": "1"})
    model = await sync_to_async(library.register)(folder)
    assert "sign in" in await text_of(async_client, model)
    await save(async_client, model, trust_remote_code="on")
    await model.arefresh_from_db()
    assert (model.trust_remote_code, "program code" in model.error_message) == (False, True)

    user = await sync_to_async(User.objects.create_superuser)("root", password="x")
    await async_client.aforce_login(user)
    await save(async_client, model, trust_remote_code="on")
    await model.arefresh_from_db()
    assert (model.trust_remote_code, model.error_message) == (True, "")
    assert model.spec().options.trust_remote_code
    await save(async_client, model)
    await model.arefresh_from_db()
    assert "program code" in model.error_message


async def test_the_environment_allows_it_for_every_model(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path, "own", files={"own.py": "1"})
    monkeypatch.setenv("MLX_TRUST_REMOTE_CODE", "true")
    assert (await sync_to_async(library.register)(folder)).error_message == ""


# -- profiles -------------------------------------------------------------------------------------


async def add(client: AsyncClient, model: Model, **values: Any) -> Any:
    return await client.post(address(model, "profiles/new/"), values)


async def test_a_profile_is_made_changed_and_deleted(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model = await amake_model("echo", defaults={"temperature": 0.5})
    assert "In force: 0.5 (the model&#x27;s settings)" in await text_of(
        async_client, model, "profiles/new/"
    )
    response = await add(async_client, model, name="short", max_tokens="5", system_prompt="Brief.")
    assert response["Location"] == address(model)
    page = await text_of(async_client, model)
    assert "echo:short" in page
    assert "max tokens: 5" in page
    profile = await Profile.objects.aget()
    assert profile.defaults == {"max_tokens": 5, "system_prompt": "Brief."}
    own = f"profiles/{profile.pk}/"
    assert 'value="5"' in await text_of(async_client, model, own)
    await async_client.post(address(model, own), {"name": "long", "max_tokens": "500"})
    await profile.arefresh_from_db()
    assert (str(profile.name), profile.defaults) == ("long", {"max_tokens": 500})
    await async_client.post(address(model, f"{own}delete/"))
    assert not await Profile.objects.aexists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "This field is required"),
        ("a:b", "letters, digits"),
        ("a@b", "letters, digits"),
        ("a/b", "letters, digits"),
        ("latest", "stands for the model itself"),
        ("taken", "already a profile “taken”"),
        ("x" * 61, "at most 60 characters"),
    ],
)
async def test_a_name_that_cannot_be_one_is_refused(
    async_client: AsyncClient, runtime: Runtime, name: str, words: str
) -> None:
    model = await amake_model("echo")
    await Profile.objects.acreate(model=model, name="taken")
    response = await add(async_client, model, name=name, temperature="0.25")
    page = response.content.decode()
    assert (response.status_code, words in page, 'value="0.25"' in page) == (400, True, True)
    assert await Profile.objects.acount() == 1


async def test_a_profile_of_another_model_is_not_found(
    async_client: AsyncClient, runtime: Runtime
) -> None:
    model, other = await amake_model("echo"), await amake_model("other")
    profile = await Profile.objects.acreate(model=other, name="x")
    for rest in (f"profiles/{profile.pk}/", f"profiles/{profile.pk}/delete/"):
        assert (await async_client.post(address(model, rest))).status_code == 404
