from django.apps import AppConfig


class ModelsConfig(AppConfig):
    name = "models_app"
    verbose_name = "Models"

    def ready(self) -> None:
        from models_app import startup  # noqa: F401  registers what runs at start
