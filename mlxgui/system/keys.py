"""The API key: one, from the environment. Without one, any key (or none) will do.

A browser types the key once at /key/ and keeps a cookie that proves it.
"""

import hmac
import os

from django.conf import settings
from django.core import signing

COOKIE = "mlx-gui-key"
MAX_AGE_SECONDS = 30 * 24 * 3600


def configured() -> str:
    return os.environ.get("MLX_GUI_API_KEY", "").strip()


def from_headers(authorization: str, x_api_key: str) -> str:
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else x_api_key.strip()


def is_right(given: str) -> bool:
    return hmac.compare_digest(given.encode(), configured().encode())


def signer() -> signing.TimestampSigner:
    """What it signs is worthless after the key has changed."""
    return signing.TimestampSigner(key=settings.SECRET_KEY + configured(), salt=COOKIE)


def cookie_value() -> str:
    return signer().sign("ok")


def is_cookie_right(value: str) -> bool:
    try:
        return signer().unsign(value, max_age=MAX_AGE_SECONDS) == "ok"
    except signing.BadSignature:
        return False


def is_allowed(key: str, cookie: str) -> bool:
    if not configured():
        return True
    return is_right(key) or (bool(cookie) and is_cookie_right(cookie))
