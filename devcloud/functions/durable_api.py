"""The HTTP interface of Durable Functions: the management webhooks, and the same verbs for the SDK's client.

The client of SDK 1.x sends its input encoded twice. The extension stores either as it comes, so an input that was given
through the SDK shows up in a status as a JSON string.
"""

import json
import uuid
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from devcloud.functions.durable_engine import DurableEngine
from devcloud.functions.durable_history import Event, EventType, format_time, make_event, parse_time
from devcloud.functions.durable_model import Instance, InstanceExistsError

WEBHOOK_PATH = "/runtime/webhooks/durabletask"
RPC_PATH = "/durabletask"
STATUS_RETRY_SECONDS = 5  # what the extension asks pollers to wait
PAGE_SIZE = 100  # instances on a page of a listing that names no size
CONNECTION = "Storage"


class DurableApi:
    """Serves requests below either path. ``base_url`` is the host's own address, ``key`` its durable system key."""

    def __init__(self, engine: DurableEngine, base_url: str, task_hub: str, key: str) -> None:
        self._engine = engine
        self._base_url = base_url
        self._task_hub = task_hub
        self._query = f"taskHub={quote(task_hub)}&connection={CONNECTION}&code={quote(key)}"

    def describe_client(self) -> str:
        """Return the value of a durable client binding."""
        start = f"{self._base_url}{WEBHOOK_PATH}/orchestrators/{{functionName}}[/{{instanceId}}]"
        return json.dumps(
            {
                "taskHubName": self._task_hub,
                "creationUrls": {
                    "createNewInstancePostUri": f"{start}?{self._query}",
                    "createAndWaitOnNewInstancePostUri": (
                        f"{start}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&{self._query}"
                    ),
                },
                "managementUrls": self._links("INSTANCEID"),
                "baseUrl": f"{self._base_url}{WEBHOOK_PATH}",
                "httpBaseUrl": f"{self._base_url}{WEBHOOK_PATH}",
                "rpcBaseUrl": f"{self._base_url}{RPC_PATH}/",
                "requiredQueryStringParameters": self._query,
                "maxGrpcMessageSizeInBytes": 2147483647,
            }
        )

    def _links(self, instance_id: str) -> dict[str, str]:
        instance = f"{self._base_url}{WEBHOOK_PATH}/instances/{quote(instance_id, safe='')}"
        return {
            "id": instance_id,
            "statusQueryGetUri": f"{instance}?{self._query}",
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{self._query}",
            "terminatePostUri": f"{instance}/terminate?reason={{text}}&{self._query}",
            "rewindPostUri": f"{instance}/rewind?reason={{text}}&{self._query}",
            "purgeHistoryDeleteUri": f"{instance}?{self._query}",
            "restartPostUri": f"{instance}/restart?{self._query}",
            "suspendPostUri": f"{instance}/suspend?reason={{text}}&{self._query}",
            "resumePostUri": f"{instance}/resume?reason={{text}}&{self._query}",
        }

    async def handle(self, request: web.Request, raw_path: str) -> web.Response:
        """Serve a request; ``raw_path`` is what follows the webhook's or the client's base path, still quoted."""
        match request.method, [unquote(part) for part in raw_path.strip("/").split("/")]:
            case "POST", ["orchestrators", name, *rest] if len(rest) <= 1:
                return await self._start(request, name, rest[0] if rest else "")
            case "GET", ["instances"]:
                return self._list(request)
            case "DELETE", ["instances"]:
                return self._purge_many(request)
            case "GET", ["instances", instance_id]:
                return self._status(request, instance_id)
            case "DELETE", ["instances", instance_id]:
                return self._purge(instance_id)
            case "POST", ["instances", instance_id, "raiseEvent", name]:
                return await self._raise_event(request, instance_id, name)
            case "POST", ["instances", instance_id, "terminate"]:
                return self._control(instance_id, EventType.EXECUTION_TERMINATED, request.query.get("reason", ""))
            case "POST", ["instances", instance_id, "suspend"]:
                return self._control(instance_id, EventType.EXECUTION_SUSPENDED, request.query.get("reason", ""))
            case "POST", ["instances", instance_id, "resume"]:
                return self._control(instance_id, EventType.EXECUTION_RESUMED, request.query.get("reason", ""))
            case "POST", ["instances", instance_id, "restart"]:
                return self._restart(request, instance_id)
            case "POST", ["instances", _, "rewind"]:
                return _error(501, "this host does not rewind orchestrations")
            case _:
                return web.Response(status=404)

    async def _start(self, request: web.Request, name: str, instance_id: str) -> web.Response:
        text = await request.text()
        if text:
            try:
                json.loads(text)
            except (ValueError, RecursionError):
                return _error(400, "Invalid JSON content")
        return self._create(name, instance_id or uuid.uuid4().hex, text or None)

    def _create(self, name: str, instance_id: str, text: str | None) -> web.Response:
        if name not in self._engine.orchestrators:
            return _error(
                400,
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function. "
                f"The following are the known orchestrator functions: {_quote_names(self._engine.orchestrators)}.",
            )
        try:
            self._engine.hub.create_instance(name, instance_id, text)
        except InstanceExistsError as error:
            return _error(409, str(error))
        self._engine.wake()
        links = self._links(instance_id)
        headers = {"Location": links["statusQueryGetUri"], "Retry-After": "10"}
        return web.json_response(links, status=202, headers=headers)

    def _status(self, request: web.Request, instance_id: str) -> web.Response:
        instance = self._engine.hub.find(instance_id)
        if instance is None:
            return web.Response(status=404)
        content = _describe(instance, show_input=_flag(request, "showInput", True))
        if _flag(request, "showHistory", False):
            events = self._engine.hub.read_history(instance_id)
            content["historyEvents"] = _describe_history(events, _flag(request, "showHistoryOutput", False))
        if instance.ended:
            failed = instance.status == "Failed" and _flag(request, "returnInternalServerErrorOnFailure", False)
            return web.json_response(content, status=500 if failed else 200)
        headers = {"Location": str(request.url), "Retry-After": str(STATUS_RETRY_SECONDS)}
        return web.json_response(content, status=202, headers=headers)

    def _query_instances(self, request: web.Request) -> list[Instance]:
        statuses = [
            status for text in request.query.getall("runtimeStatus", []) for status in text.split(",") if status
        ]
        return self._engine.hub.query(
            statuses,
            request.query.get("instanceIdPrefix", ""),
            _moment(request, "createdTimeFrom", ""),
            _moment(request, "createdTimeTo", "9999"),
        )

    def _list(self, request: web.Request) -> web.Response:
        found = self._query_instances(request)
        size = int(request.query.get("top") or PAGE_SIZE)
        offset = int(request.headers.get("x-ms-continuation-token") or 0)
        page = found[offset : offset + size]
        more = offset + size < len(found)
        content = [_describe(instance, show_input=_flag(request, "showInput", False)) for instance in page]
        return web.json_response(content, headers={"x-ms-continuation-token": str(offset + size) if more else ""})

    def _purge(self, instance_id: str) -> web.Response:
        instance = self._engine.hub.find(instance_id)
        if instance is None:
            return web.Response(status=404)
        if not instance.ended:
            return _error(
                412,
                "Only orchestrations in a terminal state can be purged, but the orchestration with instance ID "
                f"{instance_id} has status {instance.status}",
            )
        self._engine.hub.purge([instance_id])
        return web.json_response({"instancesDeleted": 1})

    def _purge_many(self, request: web.Request) -> web.Response:
        if "createdTimeFrom" not in request.query:
            return _error(400, "Please provide value for 'createdTimeFrom' parameter.")
        ended = [instance.instance_id for instance in self._query_instances(request) if instance.ended]
        if not ended:
            return web.Response(status=404)
        self._engine.hub.purge(ended)
        return web.json_response({"instancesDeleted": len(ended)})

    async def _raise_event(self, request: web.Request, instance_id: str, name: str) -> web.Response:
        refusal = self._refuse(instance_id)
        if refusal is not None:
            return refusal
        if request.content_type != "application/json":
            return _error(400, "Only application/json request content is supported")
        text = await request.text()
        try:
            data = json.loads(text) if text else None
        except (ValueError, RecursionError):
            return _error(400, "Invalid JSON content")
        # The SDK's client encodes the data twice; what orchestrators read is JSON text, so one layer comes off.
        from_client = isinstance(data, str) and request.path.startswith(RPC_PATH)
        self._post(instance_id, make_event(EventType.EVENT_RAISED, Name=name, Input=data if from_client else text))
        return web.Response(status=202)

    def _control(self, instance_id: str, kind: EventType, reason: str) -> web.Response:
        refusal = self._refuse(instance_id)
        if refusal is None:
            self._post(instance_id, make_event(kind, Input=reason))
        return refusal or web.Response(status=202)

    def _refuse(self, instance_id: str) -> web.Response | None:
        instance = self._engine.hub.find(instance_id)
        if instance is None:
            return web.Response(status=404)
        return web.Response(status=410) if instance.ended else None

    def _post(self, instance_id: str, event: Event) -> None:
        self._engine.hub.post(instance_id, event)
        self._engine.wake()

    def _restart(self, request: web.Request, instance_id: str) -> web.Response:
        instance = self._engine.hub.find(instance_id)
        if instance is None:
            return web.Response(status=404)
        new_id = uuid.uuid4().hex if _flag(request, "restartWithNewInstanceId", True) else instance_id
        return self._create(instance.name, new_id, instance.input)


def _describe(instance: Instance, *, show_input: bool) -> dict[str, Any]:
    def decode(text: str | None) -> Any:
        return json.loads(text) if text is not None else None

    return {
        "name": instance.name,
        "instanceId": instance.instance_id,
        "runtimeStatus": instance.status,
        "input": decode(instance.input) if show_input else None,
        "customStatus": decode(instance.custom_status),
        "output": decode(instance.output),
        "createdTime": _seconds(instance.created),
        "lastUpdatedTime": _seconds(instance.updated),
    }


def _seconds(text: str) -> str:
    return parse_time(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def _describe_history(events: list[Event], show_output: bool) -> list[dict[str, Any]]:
    """Return a history as the extension shows it: without the events that schedule or frame others."""
    hidden = {
        EventType.ORCHESTRATOR_STARTED,
        EventType.ORCHESTRATOR_COMPLETED,
        EventType.TASK_SCHEDULED,
        EventType.SUB_ORCHESTRATION_INSTANCE_CREATED,
        EventType.TIMER_CREATED,
    }
    scheduled = {event["EventId"]: event for event in events if event["EventId"] >= 0}
    shown = []
    for event in events:
        kind = EventType(event["EventType"])
        if kind in hidden:
            continue
        entry = {"EventType": _event_name(kind), "Timestamp": event["Timestamp"]}
        cause = scheduled.get(event.get("TaskScheduledId", event.get("TimerId", -1)))
        if cause is not None:
            entry["ScheduledTime"] = cause["Timestamp"]
            if "Name" in cause:
                entry["FunctionName"] = cause["Name"]
        if kind == EventType.EXECUTION_STARTED:
            entry["FunctionName"] = event["Name"]
        entry |= {key: event[key] for key in ("Name", "Reason", "Details", "OrchestrationStatus") if key in event}
        if show_output and "Result" in event:
            entry["Result"] = json.loads(event["Result"]) if event["Result"] is not None else None
        shown.append(entry)
    return shown


def _event_name(kind: EventType) -> str:
    return "".join(word.capitalize() for word in kind.name.split("_"))


def _moment(request: web.Request, name: str, default: str) -> str:
    text = request.query.get(name)
    return format_time(parse_time(text)) if text else default


def _flag(request: web.Request, name: str, default: bool) -> bool:
    text = request.query.get(name, "").lower()
    return text == "true" if text in ("true", "false") else default


def _quote_names(names: dict[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _error(status: int, message: str) -> web.Response:
    # Both spellings: the extension's error body, and what the SDK's client reads from a 400.
    return web.json_response({"Message": message, "ExceptionMessage": message}, status=status)
