"""Whether there is an icon in the menu bar: follows the setting, in a process of its own."""

import asyncio
import importlib.util
import logging
import sys
from pathlib import Path

from django.conf import settings

from mlxgui.runtime import Runtime, at_start, running_runtime
from mlxgui.system.logs import diary
from mlxgui.system.models import Setting
from mlxgui.system.signals import setting_changed

log = logging.getLogger("mlxgui.system")
KEY = "enable_system_tray"


def why_not(platform: str = sys.platform) -> str:
    """Why there cannot be an icon here; empty where there can."""
    if platform != "darwin":
        return "there is a menu bar on macOS only"
    if importlib.util.find_spec("rumps") is None:
        return "`pip install -r requirements-tray.txt` is needed first"
    return ""


class Tray:
    """At most one child. Everything here runs on the server's event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: asyncio.subprocess.Process | None = None

    @property
    def is_shown(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def follow(self, wanted: bool, url: str) -> None:
        """Show the icon, or take it away."""
        if wanted and not self.is_shown:
            await self._show(url)
        elif not wanted and self.is_shown:
            await self.hide()

    async def _show(self, url: str) -> None:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mlxgui.system.menu_bar",
            url,
            stdin=asyncio.subprocess.PIPE,
            cwd=self._folder,
        )

    async def hide(self) -> None:
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()
            await self._child.wait()


_tray = Tray(settings.BASE_DIR)


@at_start
async def show_tray(runtime: Runtime) -> None:
    wanted = bool(await Setting.objects.avalue(KEY))
    if wanted and (reason := why_not()):
        diary.info("no icon in the menu bar: %s", reason)
    elif runtime.control is not None:
        await _tray.follow(wanted, runtime.control.address.url)


def follow_setting(key: str, value: object, **kwargs: object) -> None:
    """Called in the thread that wrote the setting."""
    runtime = running_runtime()
    if key != KEY or runtime is None or runtime.control is None or why_not():
        return
    url = runtime.control.address.url
    runtime.loop.call_soon_threadsafe(lambda: runtime.spawn(_tray.follow(bool(value), url)))


setting_changed.connect(follow_setting, dispatch_uid="tray")
