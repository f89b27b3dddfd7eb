"""Popular clients, unchanged, against a live server: streams, tools, schemas, vectors, pictures."""

import base64
import contextlib
import gc
import importlib
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.live import LiveServer
from tests.tiny_vision import picture

pytestmark = [
    pytest.mark.model,
    # The clients' own affairs: deprecated names, sessions that they never close.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

HOW = "How do I start MLX GUI?"
PNG = f"data:image/png;base64,{base64.b64encode(picture(1, 64, 48)).decode()}"


class Person(BaseModel):
    name: str = Field(max_length=8)
    age: int = Field(ge=0, le=99)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


def imported(name: str) -> Any:
    """A client is slow to import and loud about it, so that each test does it itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name, exc_type=ImportError)
        return importlib.import_module(name)


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """What the clients leave open is collected here, where nobody minds, not in another's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def url(served: LiveServer) -> str:
    return f"{served.url}/v1"


# -- LangChain ------------------------------------------------------------------------------------


def langchain(url: str, model: str = "starter", **options: Any) -> Any:
    made = imported("langchain_openai").ChatOpenAI
    return made(base_url=url, api_key="any", model=model, temperature=0, max_retries=0, **options)


def test_langchain_answers_streams_and_counts(url: str) -> None:
    chat = langchain(url, stream_usage=True)
    answer = chat.invoke(HOW)
    assert "make run" in answer.content and answer.usage_metadata["output_tokens"] > 3
    chunks = list(chat.stream(HOW))
    assert "".join(chunk.content for chunk in chunks) == answer.content and len(chunks) > 2
    assert sum((c.usage_metadata or {}).get("output_tokens", 0) for c in chunks) > 3


def test_langchain_calls_tools_and_keeps_to_a_schema(url: str) -> None:
    chat = langchain(url, model="tiny-text", max_tokens=200)
    call = chat.bind_tools([get_weather], tool_choice="get_weather").invoke("Rome?").tool_calls[0]
    assert call["name"] == "get_weather" and isinstance(call["args"]["city"], str)
    for method in ("json_schema", "function_calling"):
        found = chat.with_structured_output(Person, method=method).invoke("Somebody")
        assert isinstance(found, Person)


def test_langchain_sees_embeds_and_is_told_what_is_wrong(url: str) -> None:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    chat = langchain(url, model="tiny-vision", max_tokens=4)
    seen = chat.invoke([{"role": "user", "content": parts}])
    assert seen.usage_metadata["input_tokens"] > 10
    made = imported("langchain_openai").OpenAIEmbeddings
    vectors = made(base_url=url, api_key="any", model="lexicon", check_embedding_ctx_length=False)
    assert len(vectors.embed_documents(["a cat", "a dog"])) == 2
    with pytest.raises(imported("openai").NotFoundError):
        langchain(url, model="nobody").invoke("Hello")


# -- LiteLLM --------------------------------------------------------------------------------------


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the internet
    return imported("litellm")


def test_litellm_speaks_openais_dialect(litellm: Any, url: str) -> None:
    plain = {"model": "openai/starter", "api_base": url, "api_key": "any", "temperature": 0}
    asked = [{"role": "user", "content": HOW}]
    answer = litellm.completion(messages=asked, **plain)
    assert "make run" in answer.choices[0].message.content
    chunks = list(litellm.completion(messages=asked, stream=True, **plain))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content
    plain["model"] = "openai/lexicon"
    found = litellm.embedding(input=["a cat", "a dog"], **plain)
    assert len(found.data) == 2
    plain["model"] = "openai/nobody"
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(messages=asked, num_retries=0, **plain)


def test_litellm_speaks_anthropics_and_ollamas_dialects(litellm: Any, served: LiveServer) -> None:
    asked = {"messages": [{"role": "user", "content": HOW}], "temperature": 0}
    for name in ("anthropic/starter", "ollama_chat/starter"):
        said = litellm.completion(
            model=name, api_base=served.url, api_key="any", max_tokens=60, **asked
        )
        assert "make run" in said.choices[0].message.content, name


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"enum": ["Rome", "Paris"]}},
        },
    },
}


def test_litellm_calls_tools_keeps_to_a_schema_and_sees(litellm: Any, url: str) -> None:
    plain = {"api_base": url, "api_key": "any", "model": "openai/tiny-text", "max_tokens": 200}
    hi = [{"role": "user", "content": "Hi"}]
    said = litellm.completion(messages=hi, tools=[WEATHER], tool_choice="required", **plain)
    call = said.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather" and "city" in json.loads(call.arguments)
    said = litellm.completion(messages=hi, response_format=Person, **plain)
    assert Person.model_validate_json(said.choices[0].message.content)
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    plain |= {"model": "openai/tiny-vision", "max_tokens": 4}
    seen = litellm.completion(messages=[{"role": "user", "content": parts}], **plain)
    assert seen.usage.prompt_tokens > 10


def test_litellm_streams_and_is_refused_in_every_dialect(litellm: Any, served: LiveServer) -> None:
    asked = {"messages": [{"role": "user", "content": HOW}], "temperature": 0, "max_tokens": 60}
    for prefix in ("anthropic", "ollama_chat"):
        plain = {"api_base": served.url, "api_key": "any", "num_retries": 0, **asked}
        chunks = litellm.completion(model=f"{prefix}/starter", stream=True, **plain)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert "make run" in text, prefix
        refused = (litellm.NotFoundError, litellm.APIConnectionError)  # as it words Ollama's
        with pytest.raises(refused, match="'nobody' not found"):
            litellm.completion(model=f"{prefix}/nobody", **plain)


# -- Ollama's own client, for what the others need a second model for ------------------------------


def test_ollamas_client_sees_a_picture(served: LiveServer) -> None:
    with imported("ollama").Client(host=served.url) as llama:
        asked = {"role": "user", "content": "What?", "images": [picture(1, 64, 48)]}
        options = {"num_predict": 4, "temperature": 0}
        seen = llama.chat("tiny-vision", [asked], options=options)
        blind = llama.chat("tiny-vision", [{**asked, "images": None}], options=options)
        assert seen.prompt_eval_count > blind.prompt_eval_count
        lines = list(llama.chat("tiny-vision", [asked], options=options, stream=True))
        assert "".join(line.message.content or "" for line in lines) == seen.message.content


# -- instructor -----------------------------------------------------------------------------------


def test_instructor_gets_objects(url: str) -> None:
    instructor, openai = imported("instructor"), imported("openai")
    modes = (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA)
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as api:
        for mode in modes:
            client = instructor.from_openai(api, mode=mode)
            found = client.chat.completions.create(
                model="tiny-text",
                response_model=Person,
                max_retries=0,
                seed=1,
                max_tokens=200,
                messages=[{"role": "user", "content": "Somebody"}],
            )
            assert isinstance(found, Person)


# -- pydantic-ai ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def pydantic_model(url: str, name: str, kind: str) -> Any:
    """OpenAI's chat or responses, behind a client that is closed at the end."""
    models = imported("pydantic_ai.models.openai")
    provider = imported("pydantic_ai.providers.openai").OpenAIProvider
    async with imported("openai").AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as api:
        yield getattr(models, kind)(name, provider=provider(openai_client=api))


@pytest.mark.parametrize("kind", ["OpenAIChatModel", "OpenAIResponsesModel"])
async def test_pydantic_ai_answers_streams_and_gets_objects(url: str, kind: str) -> None:
    agent = imported("pydantic_ai").Agent
    async with pydantic_model(url, "starter", kind) as model:
        settings = {"temperature": 0.0, "max_tokens": 60}
        answer = await agent(model, model_settings=settings).run(HOW)
        assert "make run" in answer.output
        async with agent(model, model_settings=settings).run_stream(HOW) as stream:
            pieces = [piece async for piece in stream.stream_text(delta=True)]
        assert "".join(pieces) == answer.output
    native = imported("pydantic_ai").NativeOutput
    async with pydantic_model(url, "tiny-text", kind) as model:
        settings = {"max_tokens": 200}
        for output in (Person, native(Person)):
            made = agent(model, output_type=output, model_settings=settings)
            assert isinstance((await made.run("Somebody")).output, Person)


@pytest.mark.parametrize("kind", ["OpenAIChatModel", "OpenAIResponsesModel"])
async def test_pydantic_ai_sees_and_is_told_what_is_wrong(url: str, kind: str) -> None:
    whole = imported("pydantic_ai")
    asked = ["What?", whole.BinaryContent(picture(1, 64, 48), media_type="image/png")]
    async with pydantic_model(url, "tiny-vision", kind) as model:
        seen = await whole.Agent(model, model_settings={"max_tokens": 16}).run(asked)
        assert seen.usage.input_tokens > 10
    async with pydantic_model(url, "nobody", kind) as model:
        with pytest.raises(imported("pydantic_ai.exceptions").ModelHTTPError) as caught:
            await whole.Agent(model).run("Hello")
        assert caught.value.status_code == 404


async def test_pydantic_ai_embeds(url: str) -> None:
    kind = imported("pydantic_ai.embeddings.openai").OpenAIEmbeddingModel
    provider = imported("pydantic_ai.providers.openai").OpenAIProvider
    async with imported("openai").AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as api:
        model = kind("lexicon", provider=provider(openai_client=api))
        found = await imported("pydantic_ai").Embedder(model).embed_documents(["a cat", "a dog"])
        assert len(found.embeddings) == 2
