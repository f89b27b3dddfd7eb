"""The icon in macOS's menu bar: `python -m mlxgui.system.menu_bar URL`, started by the server.

It needs rumps (requirements-tray.txt), and leaves when its stdin ends: with the server.
"""

import importlib
import os
import sys
import threading
import webbrowser
from typing import Any

from mlxgui.system.menu import Menu

EVERY_SECONDS = 5


def build(rumps: Any, menu: Menu) -> Any:
    """The application that rumps runs. Its calls come on the main thread."""
    bar = rumps.App("MLX GUI", title="MLX", quit_button=None)
    doings = [
        rumps.MenuItem("Open MLX GUI", callback=lambda item: webbrowser.open(menu.page)),
        rumps.MenuItem("Unload all models", callback=lambda item: attempt(menu.unload_all)),
        rumps.MenuItem("Quit MLX GUI", callback=lambda item: attempt(menu.quit)),
    ]

    def refresh(timer: Any = None) -> None:
        look = menu.look()
        bar.title = f"MLX {look.title}".strip()
        bar.menu.clear()
        bar.menu.update([*(rumps.MenuItem(line) for line in look.lines), None, *doings])

    bar.refresh = refresh
    refresh()
    rumps.Timer(refresh, EVERY_SECONDS).start()
    return bar


def attempt(doing: Any) -> None:
    """The next look says what is; a server that is gone needs no message of its own."""
    try:
        doing()
    except OSError as problem:
        sys.stderr.write(f"The menu bar: {problem}\n")


def leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(url: str) -> None:
    menu = Menu(url, os.environ.get("MLX_GUI_API_KEY", "").strip())
    threading.Thread(target=leave_with_parent, daemon=True).start()
    build(importlib.import_module("rumps"), menu).run()


if __name__ == "__main__":
    main(sys.argv[1])
