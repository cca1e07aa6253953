"""Route templates of HTTP triggers (ASP.NET Core's, as far as function apps use them) matched against request paths."""

import re
from dataclasses import dataclass

from devcloud.functions.worker_protocol import HTTP_TRIGGER, Function, FunctionAppError

# {name}, {name?}, {name:int}, {*rest}
_PARAMETER = re.compile(r"\{(?P<catch_all>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}")
_CONSTRAINTS = {
    None: r"[^/]+",
    "alpha": r"[A-Za-z]+",
    "int": r"-?\d+",
    "long": r"-?\d+",
    "guid": r"[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}",
}
ALL_METHODS = ("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS")


@dataclass(frozen=True)
class Route:
    """One function's route: ``pattern`` matches a whole path without its leading slash."""

    function: Function
    template: str
    methods: tuple[str, ...]
    auth_level: str
    pattern: re.Pattern[str]

    @property
    def specificity(self) -> tuple[int, ...]:
        """Return an order in which literal segments come before parameters, and those before catch-alls."""
        return tuple(2 if "{*" in part else 1 if "{" in part else 0 for part in self.template.split("/"))


def build_routes(functions: list[Function], prefix: str) -> list[Route]:
    """Return the routes of all HTTP functions, the most specific first; raises FunctionAppError for a bad template."""
    routes = []
    for function in functions:
        if function.kind == HTTP_TRIGGER:
            trigger = function.trigger
            template = "/".join(
                part for part in (prefix, str(trigger.get("route") or function.name).strip("/")) if part
            )
            methods = tuple(str(method).upper() for method in trigger.get("methods") or ALL_METHODS)
            level = str(trigger.get("authLevel") or "function").lower()
            routes.append(Route(function, template, methods, level, _compile(template)))
    return sorted(routes, key=lambda route: route.specificity)


def _compile(template: str) -> re.Pattern[str]:
    pattern = ""
    for part in template.split("/"):
        match = _PARAMETER.search(part)
        piece = re.escape(part)
        if match is not None:
            constraint = match["constraint"]
            if constraint not in _CONSTRAINTS:
                raise FunctionAppError(f"route '{template}': this host lacks the constraint '{constraint}'")
            expression = ".*" if match["catch_all"] else _CONSTRAINTS[constraint]
            group = f"(?P<{match['name']}>{expression})"
            piece = re.escape(part[: match.start()]) + group + re.escape(part[match.end() :])
            if match["optional"] or match["catch_all"]:
                pattern += f"(?:/{piece})?" if pattern else f"(?:{piece})?"
                continue
        pattern += f"/{piece}" if pattern else piece
    return re.compile(pattern, re.IGNORECASE)


def match_route(routes: list[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a request and its parameters. A known path with another method is as unknown as any other."""
    for route in routes:
        match = route.pattern.fullmatch(path.strip("/"))
        if match is not None and method.upper() in route.methods:
            return route, {name: value for name, value in match.groupdict().items() if value is not None}
    return None
