"""Content-Security-Policy: strict everywhere; the admin alone gets what its theme cannot do without."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

ADMIN = "/admin/"

#: unfold runs on Alpine.js, which compiles the expressions in its attributes (eval), and writes its colours into a
#: <style> element. It has no inline script, so that one stays forbidden.
ADMIN_NEEDS = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


class ContentSecurityPolicy(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN):
            parts.replace = {**(parts.replace or {}), **ADMIN_NEEDS}
        return parts
