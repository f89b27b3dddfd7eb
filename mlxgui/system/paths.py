"""Which addresses are pages for people, which are an API for programs, which anyone may ask."""

PAGE_ROOTS = frozenset(
    ("admin", "chat", "connect", "discover", "help", "key", "library", "setup", "static")
    + ("system", "training")
)
API_BELOW_PAGES = ("/chat/completions", "/chat/stream")
PUBLIC = ("/health", "/key/", "/static/", "/favicon.ico")


def is_api(path: str) -> bool:
    """Whatever is not known as a page: an unknown address answers as an API does."""
    root = path.split("/", 2)[1] if path.startswith("/") else ""
    return root not in PAGE_ROOTS or path.startswith(API_BELOW_PAGES)


def is_public(path: str) -> bool:
    return path.startswith(PUBLIC)
