"""The models of one device by their ids, how they are loaded, and how they come back after the device broke."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from inference.engine.facts import ModelFacts, end_token_ids, facts_of, maximum_context_tokens
from inference.engine.grammars.grammar import Grammars
from inference.engine.limits.limits import ModelLimits
from inference.engine.loading import sources, weights
from inference.engine.loading.readiness import Ready, ready_runner
from inference.engine.model import LoadedModel
from inference.engine.progress import LoadError, Progress, silent
from inference.engine.prompts.prompts import Prompts
from inference.engine.sampling.vocabulary import Vocabulary
from inference.policies import ContextPolicy

logger = logging.getLogger(__name__)

CLOSING = "The engine is closing: it loads and unloads nothing more."

#: Runs work on the device's owner thread and waits for it.
OnDevice = Callable[[Callable[[], Ready]], Ready]


class LoadedModels:
    """Read from any thread; loaded from any but the owner's, which makes the runners."""

    def __init__(
        self, device: torch.device, *, cache: Path, kv_tokens: int | None, places: int, context: ContextPolicy
    ) -> None:
        self._device = device
        self._cache = cache
        self._kv_tokens = kv_tokens
        self._places = places
        self._context = context
        self._lock = threading.Condition()  # guards everything below, and tells of the end of a load
        self._models: dict[str, LoadedModel] = {}
        self._lost: dict[str, LoadedModel] = {}
        self._loading: set[str] = set()
        self._closed = False

    def __getitem__(self, model_id: str) -> LoadedModel:
        with self._lock:
            return self._models[model_id]

    def get(self, model_id: str) -> LoadedModel | None:
        """One that is being loaded again, since the device broke, is here: requests for it wait."""
        with self._lock:
            return self._models.get(model_id) or self._lost.get(model_id)

    def all(self) -> list[LoadedModel]:
        with self._lock:
            return list(self._models.values())

    def load(
        self, model_id: str, source: str, *, progress: Progress, on_device: OnDevice, quant: str | None = None
    ) -> ModelFacts:
        """Load a model and wait for it; one that is loaded stays. Raises LoadError."""
        with self._one_at_a_time(model_id):
            if loaded := self.get(model_id):
                return loaded.facts
            model = self._read(model_id, source, quant, progress, on_device)
            with self._lock:
                if self._closed:
                    raise LoadError(CLOSING)
                self._models[model_id] = model
            return model.facts

    @contextmanager
    def _one_at_a_time(self, model_id: str) -> Iterator[None]:
        with self._lock:
            self._lock.wait_for(lambda: model_id not in self._loading)
            self._loading.add(model_id)
        try:
            yield
        finally:
            with self._lock:
                self._loading.remove(model_id)
                self._lock.notify_all()

    def _read(
        self, model_id: str, source: str, quant: str | None, progress: Progress, on_device: OnDevice
    ) -> LoadedModel:
        started = time.monotonic()
        folder = sources.folder_of(source, cache=self._cache, progress=progress)
        progress("reading weights")
        tokenizer = weights.read_tokenizer(folder)
        prompts = Prompts(tokenizer, model_id)
        ready = on_device(lambda: self._ready_runner(folder, quant, progress))
        runner = ready.runner
        ends = end_token_ids(runner.network)
        vocabulary = Vocabulary(tokenizer.backend_tokenizer, width=runner.vocabulary, end_token_ids=ends)
        load_seconds = time.monotonic() - started
        return LoadedModel(
            id=model_id,
            folder=folder,
            facts=facts_of(
                runner.network,
                tokenizer,
                prompts.family,
                parameters=ready.parameters,
                load_seconds=load_seconds,
                attention=runner.attention,
                quant=ready.quant,
            ),
            prompts=prompts,
            tokenizer=tokenizer.backend_tokenizer,
            end_token_ids=ends,
            limits=ModelLimits(
                self._context,
                maximum=maximum_context_tokens(runner.network.config),
                pool_tokens=runner.pool.tokens,
                prefill_rate=ready.prefill_rate,
                now=time.monotonic(),
            ),
            vocabulary=vocabulary,
            grammars=Grammars(vocabulary),
            runner=runner,
        )

    def forget(self, model_id: str) -> None:
        """One that is not here is no error."""
        with self._lock:
            gone = self._models.pop(model_id, None)
        if gone:
            gone.grammars.close()

    def lose(self) -> None:
        """The device is broken, and the models with it. They are remembered for the thread that takes over."""
        with self._lock:
            self._lost, self._models = {**self._lost, **self._models}, {}

    def reload(self) -> None:
        """Bring back the models of a device that broke, on its new owner thread. One that fails again is gone."""
        with self._lock:
            lost = list(self._lost.values())
        for model in lost:
            again = self._again(model)
            with self._lock:
                self._lost.pop(model.id, None)
                if again and not self._closed:
                    self._models[model.id] = again

    def _again(self, model: LoadedModel) -> LoadedModel | None:
        try:
            again = replace(model, runner=self._ready_runner(model.folder, model.facts.quant, silent).runner)
        except Exception:
            logger.exception("%s is gone: it could not be loaded again", model.id)
            model.grammars.close()
            return None
        logger.warning("%s is loaded again", model.id)
        return again

    def close(self) -> list[LoadedModel] | None:
        """Forget all models, which are returned, and load no more. None if that was so already."""
        with self._lock:
            if self._closed:
                return None
            self._closed = True
            gone = {**self._models, **self._lost}
            self._models, self._lost = {}, {}
        return list(gone.values())

    def _ready_runner(self, folder: Path, quant: str | None, progress: Progress) -> Ready:
        return ready_runner(
            folder,
            self._device,
            context=self._context,
            kv_tokens=self._kv_tokens,
            places=self._places,
            progress=progress,
            quant=quant,
        )
