"""`manage.py runworker`: one neuron."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from typing import Any

from celery import current_app
from celery.exceptions import SecurityWarning
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from fleet.reports import task_queue
from inference.policies import AdmissionPolicy, ContextPolicy
from inference.worker.heap import limit_arenas

#: Tasks only hand over or load, so this many threads are plenty.
POOL_THREADS = 32


class Command(BaseCommand):
    help = "Run one neuron: it holds models and works on what gateways send it. Needs REDIS_URL and no database."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs["epilog"] = (
            "example: REDIS_URL=redis://:password@10.0.0.5:6379/0 manage.py runworker --name gpu-1 --devices cuda:0"
        )
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name", required=True, help="this neuron's name in the fleet; one process at a time has it"
        )
        parser.add_argument(
            "--devices",
            help="comma-separated, as torch calls them: cpu, or cuda:0,cuda:1 (default: every GPU, else cpu)",
        )

    def handle(self, *args: Any, name: str, devices: str | None, **options: Any) -> None:
        if settings.REDIS_URL is None:
            raise CommandError(
                "REDIS_URL is not set: copy it from the host of the gateways (`up --listen ADDRESS` prints it)"
            )
        harnesses = _harnesses()
        # Engine threads hold the interpreter between kernels; short turns keep the publisher from waiting for them.
        sys.setswitchinterval(0.0005)
        limit_arenas()
        from inference.worker.discovery import default_devices
        from inference.worker.lease import NameTakenError
        from inference.worker.neuron import Neuron
        from inference.worker.tasks import serve_with

        neuron = Neuron(
            settings.REDIS_URL,
            name=name,
            devices=devices.split(",") if devices else default_devices(),
            harnesses=harnesses,
            model_cache=settings.HOME.models,
            admission=_admission_policy(),
            context=_context_policy(),
        )
        try:
            neuron.start()
        except NameTakenError as fault:
            raise CommandError(str(fault)) from fault
        except (RedisError, OSError) as fault:
            raise CommandError(f"Redis does not answer at REDIS_URL: {fault}") from fault
        serve_with(neuron)
        _end_when_name_is_lost(neuron.lost_name)
        try:
            _consume(name)
        finally:
            neuron.stop()
        if neuron.lost_name.is_set():
            raise CommandError(f"another neuron took the name {name}")


def _harnesses() -> list[str]:
    if settings.HELEXA_HARNESS == "torch":
        return ["torch"]
    if settings.HELEXA_HARNESS == "echo" and settings.HELEXA_ALLOW_ECHO:
        return ["echo"]
    if settings.HELEXA_HARNESS == "echo":
        raise CommandError(
            "HELEXA_HARNESS=echo answers without a model, for load tests only: set HELEXA_ALLOW_ECHO=1 if you mean it"
        )
    raise CommandError(f"HELEXA_HARNESS must be torch or echo, not {settings.HELEXA_HARNESS!r}")


def _admission_policy() -> AdmissionPolicy:
    return AdmissionPolicy(
        max_in_flight=settings.HELEXA_ADMISSION__MAX_IN_FLIGHT,
        max_queue_depth=settings.HELEXA_ADMISSION__MAX_QUEUE_DEPTH,
        max_wait_s=settings.HELEXA_ADMISSION__MAX_WAIT_SECS,
        max_per_principal=settings.HELEXA_ADMISSION__MAX_PER_PRINCIPAL,
        min_free_mb=settings.HELEXA_ADMISSION__MIN_FREE_VRAM_MB,
    )


def _context_policy() -> ContextPolicy:
    return ContextPolicy(
        derive=settings.HELEXA_CONTEXT_LIMIT__DERIVE,
        target_prefill_s=settings.HELEXA_CONTEXT_LIMIT__TARGET_PREFILL_LATENCY_SECS,
        assumed_prefill_rate=settings.HELEXA_CONTEXT_LIMIT__ASSUMED_PREFILL_TOK_S,
        headroom_mb=settings.HELEXA_CONTEXT_LIMIT__ACTIVATION_HEADROOM_MB,
        floor_mb=settings.HELEXA_CONTEXT_LIMIT__FLOOR_MB,
        cpu_share=settings.HELEXA_CONTEXT_LIMIT__CPU_SHARE / settings.HELEXA_WORKERS,
        max_tokens=settings.HELEXA_MAX_PROMPT_TOKENS,
    )


def _end_when_name_is_lost(lost: threading.Event) -> None:
    def watch() -> None:
        lost.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="name-watch", daemon=True).start()


def _consume(name: str) -> None:
    """Run Celery's worker in this process until SIGTERM or SIGINT: its threads share the neuron's engines."""
    # Tasks are JSON and nothing else, so there is nothing a root process could be made to unpickle.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = current_app.Worker(
        pool="threads",
        concurrency=POOL_THREADS,
        queues=[task_queue(name)],
        hostname=f"{name}@helexa",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    worker.start()
