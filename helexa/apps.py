from django.apps import AppConfig


class HelexaConfig(AppConfig):
    name = "helexa"

    def ready(self) -> None:
        # Whoever publishes or consumes tasks means this Celery application.
        import helexa.celery  # noqa: F401
