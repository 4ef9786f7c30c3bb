"""helexa: language models from a group's own GPU machines, each tenant inside a budget that cannot be overspent."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("helexa")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.1.0"
