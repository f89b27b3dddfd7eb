from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from mlxgui.system.signals import setting_changed


def make_rows(**kwargs: Any) -> None:
    from mlxgui.system.models import Setting

    Setting.objects.make_rows()


def follow_log_level(key: str, value: str, **kwargs: Any) -> None:
    from mlxgui.system.logs import set_level

    if key == "log_level":
        set_level(value)


class SystemConfig(AppConfig):
    name = "mlxgui.system"
    label = "system"
    verbose_name = "System"

    def ready(self) -> None:
        from mlxgui.system import samples, tray  # noqa: F401  registers what runs at start

        post_migrate.connect(make_rows, sender=self)
        setting_changed.connect(follow_log_level, dispatch_uid="log_level")
