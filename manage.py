#!/usr/bin/env python
"""helexa's commands: `python manage.py help` lists them, `python manage.py COMMAND --help` explains one."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helexa.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says it; a traceback helps nobody who pressed Ctrl-C
