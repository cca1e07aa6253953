#!/usr/bin/env python3
"""Do in Fabric what no Azure template can: create and start a mirrored database, switch its change data feed, give the
app its role.

Each command looks first and changes only what is missing, so it can be run again at any time. The caller's own login is
used (`az login`); nothing is stored. Needs Python 3.10 and the Azure CLI, nothing else.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

API_URL = "https://api.fabric.microsoft.com"

# What Fabric wants to be told of a mirrored database that is fed through its landing zone.
DEFINITION = {
    "properties": {
        "source": {"type": "GenericMirror", "typeProperties": {}},
        "target": {
            "type": "MountedRelationalDatabase",
            "typeProperties": {"defaultSchema": "dbo", "format": "Delta", "retentionInDays": 7},
        },
    }
}

DEFINITION_PART = "mirroring.json"

# The switch in it: Fabric then keeps the changes of every mirrored table beside the table, and bills for that.
CHANGE_DATA_FEED = "enableDeltaChangeDataFeed"

# From the least to the most.
ROLES = ("Viewer", "Contributor", "Member", "Admin")

# A new mirrored database takes a minute or two to be ready for its start, and about as long to run.
WAIT_SECONDS = 600.0
POLL_SECONDS = 5.0

# How often a request that Fabric turns away with 429 is made again.
THROTTLED_ATTEMPTS = 10

# No answer that is read here comes near it.
ANSWER_LIMIT_BYTES = 16 << 20


class FabricError(Exception):
    """Fabric did not do what it was asked for; the text says what, and what may help."""


class FabricRefusal(FabricError):
    """Fabric said that the caller may not (403)."""


class Fabric:
    """Fabric's REST API. Plain http is for an emulator on this machine, and is sent no token."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise FabricError(f"{url}: a token is sent over https only")
        self._url = url.rstrip("/")
        self._token = "" if parts.scheme == "http" else _token()

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer to a request; raises FabricError. Waits where Fabric says that it is asked too often."""
        return self._send(method, path, body)[0]

    def order(self, path: str, body: object = None, *, result: bool = False) -> dict[str, Any]:
        """What comes of a POST that Fabric may carry out after its answer; with ``result`` the operation's result."""
        answer, operation = self._send("POST", path, body)
        if not operation:
            return answer
        where = f"operations/{quote(operation, safe='')}"
        _wait(lambda: self._has_succeeded(where), f"POST {path}")
        return self.ask("GET", f"{where}/result") if result else {}

    def _has_succeeded(self, where: str) -> bool:
        state = self.ask("GET", where)
        if state.get("status") == "Failed":
            error = state.get("error") or {}
            raise FabricError(f"Fabric could not do it: {error.get('errorCode', '')} {error.get('message', '')}")
        return state.get("status") == "Succeeded"

    def _send(self, method: str, path: str, body: object) -> tuple[dict[str, Any], str]:
        """The answer to a request, and the id of the operation that it began, if any."""
        for _ in range(THROTTLED_ATTEMPTS):
            request = urllib.request.Request(f"{self._url}/v1/{path}", method=method)  # noqa: S310
            request.add_header("Content-Type", "application/json")
            if self._token:
                request.add_header("Authorization", f"Bearer {self._token}")
            data = b"" if body is None else json.dumps(body).encode()
            try:
                with urllib.request.urlopen(request, data, timeout=60) as answer:  # noqa: S310
                    decoded = _decode(answer.read(ANSWER_LIMIT_BYTES + 1))
                    return decoded, (answer.headers.get("x-ms-operation-id") or "") if answer.status == 202 else ""
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    kind = FabricRefusal if error.code == 403 else FabricError
                    raise kind(_explain(error, f"{method} {path}")) from None
                time.sleep(float(error.headers.get("Retry-After") or POLL_SECONDS))
            except urllib.error.URLError as error:
                raise FabricError(f"{self._url} cannot be reached: {error.reason}") from None
        raise FabricError(f"Fabric turned {method} {path} away {THROTTLED_ATTEMPTS} times (429). Try again later.")

    def list_all(self, path: str) -> list[dict[str, Any]]:
        """All pages of a listing."""
        found: list[dict[str, Any]] = []
        query = ""
        while True:
            page = self.ask("GET", path + query)
            found += page.get("value", [])
            if not page.get("continuationToken"):
                return found
            query = "?" + urlencode({"continuationToken": page["continuationToken"]})


def _decode(data: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(data or b"{}") or {}
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict) or len(data) > ANSWER_LIMIT_BYTES:
        raise FabricError("The answer is not one of Fabric's. Check --api-url: something else responds there.")
    return decoded


def _token() -> str:
    if (az := shutil.which("az")) is None:
        raise FabricError("The Azure CLI (`az`) is needed, and is not on the PATH.")
    try:
        login = subprocess.run(  # noqa: S603
            [az, "account", "get-access-token", "--resource", API_URL, "--query", "accessToken", "--output", "tsv"],
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise FabricError(f"`az` gave no token; run `az login` first.\n{error.stderr.strip()}") from None
    return login.stdout.strip()


HINTS = {
    401: "The login is not accepted: run `az login`, into the tenant that the workspace belongs to.",
    403: "Your account needs the role Member or Admin in the workspace; a service principal or managed identity also "
    "needs the tenant setting 'Service principals can call Fabric public APIs'.",
    404: "Check the ids: both are GUIDs in the address of the item in the portal.",
}


def _explain(error: urllib.error.HTTPError, what: str) -> str:
    try:
        details = json.loads(error.read())
        said = f"{details.get('errorCode', '')} {details.get('message', '')}".strip()
    except ValueError:
        said = error.reason
    hint = HINTS.get(error.code, "")
    return f"{what}: {error.code} {said}" + (f"\n{hint}" if hint else "")


def create_mirror(fabric: Fabric, workspace: str, name: str) -> str:
    """The id of the mirrored database of that name, created where there is none, started and running."""
    path = f"workspaces/{workspace}/mirroredDatabases"
    found: str = _find(fabric, path, name)
    if found:
        say(f"There is a mirrored database {name!r} already: {found}")
    else:
        created = fabric.ask("POST", path, {"displayName": name, "definition": _as_parts(DEFINITION)})
        # Fabric may answer before the item exists, without its id.
        found = created.get("id") or _wait(lambda: _find(fabric, path, name), f"{name!r} to be created")
        say(f"Created the mirrored database {name!r}: {found}")
    item = f"{path}/{found}"
    status = _wait(lambda: _settled(fabric, item), "the mirrored database to be ready")
    if status == "Running":
        say("Mirroring runs already.")
        return found
    fabric.ask("POST", f"{item}/startMirroring")
    _wait(lambda: fabric.ask("POST", f"{item}/getMirroringStatus").get("status") == "Running", "mirroring to run")
    say("Mirroring runs.")
    return found


def switch_change_data_feed(fabric: Fabric, workspace: str, mirror: str, *, on: bool) -> None:
    """Let Fabric keep the changes of all tables of a mirrored database beside them, or keep them no more."""
    item = f"workspaces/{workspace}/mirroredDatabases/{mirror}"
    state = "on" if on else "off"
    definition = _definition(fabric, item)
    properties = _target_properties(definition)
    if (properties.get(CHANGE_DATA_FEED) is True) == on:
        say(f"The change data feed is {state} already.")
        return
    properties[CHANGE_DATA_FEED] = on
    # All of the definition goes back: what is left out of it would be gone.
    fabric.order(f"{item}/updateDefinition", {"definition": _as_parts(definition)})
    _wait(
        lambda: (_target_properties(_definition(fabric, item)).get(CHANGE_DATA_FEED) is True) == on,
        f"the change data feed to be {state}",
    )
    say(f"The change data feed is {state} now.")
    if on:
        say("Fabric bills its work for every table of this mirrored database from now on, and keeps more files.")


def _definition(fabric: Fabric, item: str) -> dict[str, Any]:
    answer = fabric.order(f"{item}/getDefinition", result=True)
    try:
        (payload,) = [
            part["payload"] for part in answer["definition"]["parts"] if part["path"].lower() == DEFINITION_PART
        ]
        definition: dict[str, Any] = json.loads(base64.b64decode(payload, validate=True))
        _target_properties(definition)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FabricError(
            f"The item's definition has no {DEFINITION_PART} that can be read. Check --mirror-id: it has to be a "
            "mirrored database. Nothing was changed."
        ) from None
    return definition


def _target_properties(definition: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = definition["properties"]["target"]["typeProperties"]
    if not isinstance(properties, dict):
        raise TypeError(properties)
    return properties


def _as_parts(definition: dict[str, Any]) -> dict[str, Any]:
    payload = base64.b64encode(json.dumps(definition).encode()).decode()
    return {"parts": [{"path": DEFINITION_PART, "payload": payload, "payloadType": "InlineBase64"}]}


def _find(fabric: Fabric, path: str, name: str) -> str:
    return next((str(item["id"]) for item in fabric.list_all(path) if item["displayName"] == name), "")


def _settled(fabric: Fabric, item: str) -> str:
    """The status of a mirrored database, empty while it is on its way to another: it takes no orders then."""
    answer = fabric.ask("POST", f"{item}/getMirroringStatus")
    status = str(answer.get("status", ""))
    if status == "Failed":
        raise FabricError(f"The mirrored database has failed: {answer.get('error')}")
    return "" if status in ("Initializing", "Starting", "Stopping") else status


def _wait(look: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise FabricError(f"Waited {WAIT_SECONDS:.0f} s for {what}. Run this again to go on.")
        time.sleep(POLL_SECONDS)
    return found


def grant_role(fabric: Fabric, workspace: str, principal: str, role: str) -> None:
    """Give an identity a role in the workspace. A lower one that it has is raised; a higher one is left and named."""
    path = f"workspaces/{workspace}/roleAssignments"
    has = next((each["role"] for each in fabric.list_all(path) if each["principal"]["id"] == principal), "")
    if has == role:
        say(f"The identity is {role} already.")
    elif not has:
        fabric.ask("POST", path, {"principal": {"id": principal, "type": "ServicePrincipal"}, "role": role})
        say(f"The identity is now {role}.")
    elif ROLES.index(has) > ROLES.index(role):
        say(f"The identity is {has}, which is more than {role}. Nothing was changed; revoke it if it is not needed.")
    else:
        try:
            fabric.ask("PATCH", f"{path}/{principal}", {"role": role})
        except FabricRefusal as error:
            raise FabricError(f"The identity is {has}, and only an Admin may raise it to {role}.\n{error}") from None
        say(f"The identity was {has} and is now {role}.")


def say(text: str) -> None:
    """Tell what happened, apart from the one value that a command prints for others to use."""
    print(text, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it is done, 1 when it could not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api-url", default=API_URL, help="Fabric's REST API (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    mirror = commands.add_parser(
        "create-mirror",
        help="create and start a mirrored database; prints its id",
        description="Create a mirrored database for Open Mirroring unless there is one of that name, start it, wait "
        "until it runs, and print its id: the MIRROR_ID of the deployment. You need the role Contributor in the "
        "workspace.",
    )
    mirror.add_argument("--name", required=True, help="display name of the mirrored database")
    role = commands.add_parser(
        "grant-role",
        help="give the app's identity its role in the workspace",
        description="Give the app's identity a role in the workspace. Contributor is the least that lets it write into "
        "the landing zone and read the mirroring status; to grant less, share the one item with it in the portal "
        "instead (read and write). You need the role Member or Admin; to raise a role that it has, Admin.",
    )
    role.add_argument(
        "--principal-id", required=True, help="object id of the identity: HYGGE_IDENTITY_PRINCIPAL_ID of the deployment"
    )
    role.add_argument("--role", choices=ROLES, default="Contributor", help="default: %(default)s")
    feed = commands.add_parser(
        "change-data-feed",
        help="switch the change data feed of a mirrored database on or off",
        description="Let Fabric keep the changes of every table of a mirrored database in its Delta tables, or no "
        "longer. Fabric bills its work while it is on. You need the role Contributor in the workspace.",
    )
    feed.add_argument("state", choices=("on", "off"))
    feed.add_argument("--mirror-id", required=True, help="GUID of the mirrored database: MIRROR_ID of the deployment")
    for command in (mirror, role, feed):
        command.add_argument("--workspace-id", required=True, help="GUID of the Fabric workspace")
    given = parser.parse_args(arguments)
    try:
        fabric = Fabric(given.api_url)
        if given.command == "create-mirror":
            print(create_mirror(fabric, given.workspace_id, given.name))
        elif given.command == "change-data-feed":
            switch_change_data_feed(fabric, given.workspace_id, given.mirror_id, on=given.state == "on")
        else:
            grant_role(fabric, given.workspace_id, given.principal_id, given.role)
    except FabricError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
