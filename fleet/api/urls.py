"""Addresses of fleet's half of /api/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from fleet.api.views import Load, Models, Neurons, Unload

router = SimpleRouter(trailing_slash=False)
router.register("neurons", Neurons, "neuron")
router.register("models", Models, "model")
router.register("load", Load, "load")
router.register("unload", Unload, "unload")

urlpatterns = router.urls
