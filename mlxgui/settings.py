"""Django's settings. Each one that a person may set comes from the environment, prefix MLX_GUI_.

What people change while the server runs lives in rows instead: see mlxgui/system/models.py.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Any

from django.utils.csp import CSP

from mlxgui.home import Home

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = Home(os.environ.get("MLX_GUI_HOME", "~/.mlx-gui"))
VERSION = re.search(r"^## (\d+\.\d+\.\d+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.M)[1]  # type: ignore[index]


def env_flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    return default if not value else value in ("1", "true", "yes", "on")


def env_list(name: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def secret_key() -> str:
    """From the environment, else a file of the data folder, made at the first start."""
    if key := os.environ.get("MLX_GUI_SECRET_KEY"):
        return key
    file = HOME.path / "secret-key"
    try:
        return file.read_text()
    except FileNotFoundError:
        pass
    except OSError:
        return secrets.token_urlsafe(48)
    key = secrets.token_urlsafe(48)
    try:
        HOME.make()
        file.touch(mode=0o600)
        file.write_text(key)
    except OSError:
        pass  # `serve` says what is wrong with the data folder; other commands can go on.
    return key


SECRET_KEY = secret_key()
DEBUG = env_flag("MLX_GUI_DEBUG", False)
# Names this server answers to (DNS rebinding). `serve` adds this machine's own when bound wider.
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env_list("MLX_GUI_ALLOWED_HOSTS")]
BOUND_TO_LOOPBACK = True  # `serve` says what is true.

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "mlxgui.system",
    "models_app",
    "chat_app",
    "training_app",
]

MIDDLEWARE = [
    "mlxgui.system.guard.guard",
    "mlxgui.system.static_files.StaticFilesMiddleware",
    "mlxgui.system.lanes.SecurityMiddleware",
    "mlxgui.system.lanes.ContentSecurityPolicyMiddleware",
    "mlxgui.system.lanes.SessionMiddleware",
    "mlxgui.system.lanes.CommonMiddleware",
    "mlxgui.system.lanes.CsrfViewMiddleware",
    "mlxgui.system.lanes.AuthenticationMiddleware",
    "mlxgui.system.lanes.MessageMiddleware",
    "mlxgui.system.lanes.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "mlxgui.urls"
ASGI_APPLICATION = "mlxgui.asgi.application"
APPEND_SLASH = False  # API paths have no slash; pages redirect by their own routes.

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "mlxgui.pages.common",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HOME.path / "mlx-gui.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if redis_url := os.environ.get("REDIS_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [redis_url]},
        }
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["terminal"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING"},
        # A 404 is the asker's affair; only faults of our own are worth a line.
        "django.request": {"level": "ERROR"},
    },
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = HOME.path / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

SECURE_CSP = {
    "default-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:", "blob:"],
    "style-src": [CSP.SELF],
    "script-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "object-src": [CSP.NONE],
}
# A conversation with a few photographs in it; what is larger is refused with 413 by the guard.
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 << 20
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "admin:login"
