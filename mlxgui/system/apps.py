from django.apps import AppConfig


class SystemConfig(AppConfig):
    name = "mlxgui.system"
    label = "system"
    verbose_name = "System"
