"""Which group of the document an address belongs to."""

TAGS = {
    "Chat and text": "OpenAI's chat, completions and responses, and MLX-GUI's generate.",
    "Anthropic": "The Messages API.",
    "Ollama": "What Ollama's clients ask for.",
    "Engine": "What Silicon Studio's clients ask for.",
    "Embeddings and ranking": "Vectors of texts, and texts in the order of a question.",
    "Speech": "Speech to text and text to speech.",
    "Images": "Pictures from words.",
    "Tokens": "Texts as a model's tokens.",
    "Models": "What is on disk and in memory.",
    "Discover": "Models on the Hugging Face hub.",
    "Prompt cache": "What models have read already.",
    "System": "The server itself and its settings.",
}

_PREFIXES = (
    ("/v1/messages", "Anthropic"),
    ("/messages", "Anthropic"),
    ("/api/engine", "Engine"),
    ("/api/", "Ollama"),
    ("/v1/discover", "Discover"),
    ("/v1/cache", "Prompt cache"),
    ("/v1/manager/status", "System"),
    ("/v1/manager", "Models"),
    ("/v1/system", "System"),
    ("/v1/settings", "System"),
    ("/health", "System"),
    ("/openapi.json", "System"),
    ("/unload", "Models"),
)
_WORDS = {
    "embeddings": "Embeddings and ranking",
    "rerank": "Embeddings and ranking",
    "audio": "Speech",
    "images": "Images",
    "tokenize": "Tokens",
    "detokenize": "Tokens",
    "models": "Models",
}


def tag_of(path: str) -> str:
    """By prefix; else by the first word after `/v1`; what generates text is the rest."""
    for prefix, tag in _PREFIXES:
        if path.startswith(prefix):
            return tag
    if path.endswith("/generate"):
        return "Chat and text"
    if path == "/":
        return "System"
    return _WORDS.get(path.removeprefix("/v1").split("/")[1], "Chat and text")
