"""Every setting of helexa, read from the environment in this one place.

The names that start with HELEXA_, DATABASE_URL and REDIS_URL are the contract with operators; README lists them.
`runworker` and `--help` need neither a secret nor a database, so nothing here insists on them: Django itself
refuses to work with an empty SECRET_KEY, and `serve` checks the rest before it listens.
"""

from __future__ import annotations

import sys
from typing import Any

from csp.constants import NONE, SELF
from environ import FileAwareEnv

from helexa import __version__
from helexa.home import REPOSITORY, Home
from helexa.theme import UNFOLD  # noqa: F401  # a setting of its own: the look and the menu of /admin/

env = FileAwareEnv()
HOME = Home.from_environment()

# -- secrets -------------------------------------------------------------------------------------
# Made by `up` and kept under HELEXA_HOME/secrets; anywhere else they come from the environment, also as *_FILE.

SECRET_KEY: str = env.str("HELEXA_SECRET_KEY", default="") or HOME.secret("secret_key") or ""
HELEXA_KEY_PEPPER: str = env.str("HELEXA_KEY_PEPPER", default="") or HOME.secret("key_pepper") or ""

# -- where it listens ----------------------------------------------------------------------------

HELEXA_HOST: str = env.str("HELEXA_HOST", default="127.0.0.1")
HELEXA_PORT: int = env.int("HELEXA_PORT", default=31313)
HELEXA_METRICS_LISTEN: str | None = env.str("HELEXA_METRICS_LISTEN", default=None)
HELEXA_TRUST_PROXY: bool = env.bool("HELEXA_TRUST_PROXY", default=False)
ALLOWED_HOSTS: list[str] = env.list("HELEXA_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("HELEXA_CSRF_ORIGINS", default=[])

# -- what `up` starts and makes -------------------------------------------------------------------

HELEXA_MODEL: str | None = env.str("HELEXA_MODEL", default=None)
HELEXA_WORKERS: int = env.int("HELEXA_WORKERS", default=1)
HELEXA_API_KEY: str | None = env.str("HELEXA_API_KEY", default=None)
HELEXA_ADMIN_PASSWORD: str | None = env.str("HELEXA_ADMIN_PASSWORD", default=None)

# -- the inference path --------------------------------------------------------------------------

HELEXA_REQUIRE_AUTH: bool = env.bool("HELEXA_REQUIRE_AUTH", default=True)
HELEXA_HARNESS: str = env.str("HELEXA_HARNESS", default="torch")
HELEXA_ALLOW_ECHO: bool = env.bool("HELEXA_ALLOW_ECHO", default=False)
HELEXA_RETENTION_DAYS: int = env.int("HELEXA_RETENTION_DAYS", default=90)
HELEXA_STORE_DAYS: int = env.int("HELEXA_STORE_DAYS", default=30)
HELEXA_STORE_MAX_BYTES: int = env.int("HELEXA_STORE_MAX_BYTES", default=16 * 1024 * 1024)
HELEXA_KEEP_ALIVE_SECS: float = env.float("HELEXA_KEEP_ALIVE_SECS", default=10)
HELEXA_LOG_LEVEL: str = env.str("HELEXA_LOG_LEVEL", default="info").lower()

# -- what a neuron takes (MISSION N13 to N15) ------------------------------------------------------
# Read by each neuron in its own environment, so that hosts may differ. `inference.policies` says what each one means.

HELEXA_ADMISSION__MAX_IN_FLIGHT: int = env.int("HELEXA_ADMISSION__MAX_IN_FLIGHT", default=16)
HELEXA_ADMISSION__MAX_QUEUE_DEPTH: int = env.int("HELEXA_ADMISSION__MAX_QUEUE_DEPTH", default=64)
HELEXA_ADMISSION__MAX_WAIT_SECS: float = env.float("HELEXA_ADMISSION__MAX_WAIT_SECS", default=30)
HELEXA_ADMISSION__MAX_PER_PRINCIPAL: int = env.int("HELEXA_ADMISSION__MAX_PER_PRINCIPAL", default=0)
HELEXA_ADMISSION__MIN_FREE_VRAM_MB: int | None = env.int("HELEXA_ADMISSION__MIN_FREE_VRAM_MB", default=None)
HELEXA_CONTEXT_LIMIT__DERIVE: bool = env.bool("HELEXA_CONTEXT_LIMIT__DERIVE", default=True)
HELEXA_CONTEXT_LIMIT__TARGET_PREFILL_LATENCY_SECS: float = env.float(
    "HELEXA_CONTEXT_LIMIT__TARGET_PREFILL_LATENCY_SECS", default=120
)
HELEXA_CONTEXT_LIMIT__ASSUMED_PREFILL_TOK_S: float = env.float(
    "HELEXA_CONTEXT_LIMIT__ASSUMED_PREFILL_TOK_S", default=800
)
HELEXA_CONTEXT_LIMIT__ACTIVATION_HEADROOM_MB: int = env.int(
    "HELEXA_CONTEXT_LIMIT__ACTIVATION_HEADROOM_MB", default=2048
)
HELEXA_CONTEXT_LIMIT__FLOOR_MB: int = env.int("HELEXA_CONTEXT_LIMIT__FLOOR_MB", default=1500)
HELEXA_CONTEXT_LIMIT__CPU_SHARE: float = env.float("HELEXA_CONTEXT_LIMIT__CPU_SHARE", default=0.25)
HELEXA_MAX_PROMPT_TOKENS: int | None = env.int("HELEXA_MAX_PROMPT_TOKENS", default=None)

# -- servers -------------------------------------------------------------------------------------
# One URL each; what Celery and the event streams use derives from it here and nowhere else.

_servers = HOME.server_urls()
DATABASE_URL: str | None = env.str("DATABASE_URL", default=None) or (_servers.database if _servers else None)
REDIS_URL: str | None = env.str("REDIS_URL", default=None) or (_servers.redis if _servers else None)

CELERY_BROKER_URL = (REDIS_URL or "").replace("unix://", "redis+socket://", 1)


def _database() -> dict[str, Any]:
    if DATABASE_URL is None:
        return {"ENGINE": "django.db.backends.dummy"}
    settings: dict[str, Any] = env.db_url_config(DATABASE_URL)
    # Under ASGI a persistent connection leaks with its thread (STACK_NOTES 4.1): open for the request only.
    settings["CONN_MAX_AGE"] = 0
    settings["OPTIONS"] = {**settings.get("OPTIONS", {}), "connect_timeout": 2}
    return settings


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- applications --------------------------------------------------------------------------------

INSTALLED_APPS = [
    # before `channels`, which ships a `runworker` of its own
    "helexa",
    "accounts",
    "fleet",
    "inference",
    "unfold",
    "unfold.contrib.simple_history",  # before simple_history, whose pages it draws
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "daphne",  # before staticfiles, as it asks for
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "simple_history",
    "rest_framework",
    "drf_spectacular",
    "django_prometheus",
    "channels",
    "csp",
    "axes",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "helexa.csp.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "helexa.urls"
ASGI_APPLICATION = "helexa.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [REPOSITORY / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Five wrong passwords lock that name from that address for a quarter of an hour.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # trying on while locked must not prolong it for ever
AXES_CLIENT_IP_CALLABLE = "helexa.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "helexa.lockout.locked_out"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False  # no start-up line on every command
AXES_SENSITIVE_PARAMETERS = ["username"]  # people type passwords there; the address may be logged

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "helexa.formats"

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # no collectstatic step between a clone and a page

# -- security headers ----------------------------------------------------------------------------
# On loopback HTTP cookies are not Secure and nothing redirects; behind a trusted proxy all of it is on.

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HELEXA_TRUST_PROXY
if HELEXA_TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

# -- /api/ ---------------------------------------------------------------------------------------

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "helexa:cache",
        # Never pickle: neurons reach the same Redis, and must not be able to run code in a gateway.
        "OPTIONS": {"serializer": "helexa.cache.JsonSerializer", "socket_timeout": 1, "socket_connect_timeout": 1},
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.KeyAuthentication",
        "accounts.api.authentication.PersonAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.MayAct"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.api.throttles.PerActor"],
    # For each key or person, over all gateways together.
    "DEFAULT_THROTTLE_RATES": {"actor": "1200/minute"},
    "DEFAULT_PARSER_CLASSES": ["helexa.api.parsing.BoundedJson"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,  # /api/schema/ tells more than OPTIONS
    "EXCEPTION_HANDLER": "helexa.api.errors.handle",
    "NUM_PROXIES": 1 if HELEXA_TRUST_PROXY else 0,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "helexa",
    "DESCRIPTION": "Accounts, keys, budgets, the ledger and the fleet. Inference itself is under /v1.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": "/api",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "helexa.api.schema.with_faults",
    ],
    "ENUM_NAME_OVERRIDES": {  # several shapes have a field of that name, each with values of its own
        "AccountState": ["active", "suspended", "closed"],
        "KeyState": "accounts.models.ApiKey.State",
        "KeyScope": "accounts.models.ApiKey.Scope",
        "MemberRole": "accounts.models.Member.Role",
        "MyRole": ["operator", "owner", "member", "auditor"],
        "EntryKind": "accounts.models.Entry.Kind",
        "ReplicaStatus": ["loading", "loaded", "failed"],
        "OrderStatus": ["loading", "loaded", "unloading"],
    },
}

# -- Celery --------------------------------------------------------------------------------------
# A task is submitted to an engine and is over; results, redelivery and prefetch would only get in the way (DESIGN 3.4).

CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = False
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a neuron waits for Redis as long as it takes
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 2, "retry_on_timeout": False}

# -- logs ----------------------------------------------------------------------------------------

LOGGING_CONFIG = None  # helexa.logs configures structlog and the standard library together
from helexa.logs import configure_logging  # noqa: E402

configure_logging(HELEXA_LOG_LEVEL, pretty=sys.stderr.isatty() or env.bool("HELEXA_LOG_PRETTY", default=False))
