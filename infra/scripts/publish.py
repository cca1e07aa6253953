#!/usr/bin/env python3
"""Publish a package as it is, without a build by the platform.

`az functionapp deployment source config-zip --build-remote false` has Python apps built all the same, as of 2.91. This
asks the app's SCM site to take the package unbuilt, with the caller's own login (`az login`), and waits until it has.
It can be run again at any time. Needs Python 3.10 and the Azure CLI, nothing else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WAIT_SECONDS = 900.0
POLL_SECONDS = 5.0
# How long a site that sleeps is given to wake up, before it is handed the package.
WAKE_SECONDS = 180.0
MOST_BYTES = 1_000_000

# What a site answers while it starts or restarts. While it deploys it may also not know the caller for a moment (401).
STARTING = (408, 429, 500, 502, 503, 504)

# How a deployment ends, in the words of the SCM site.
DONE = 4
ENDED_OTHERWISE = {-1: "was cancelled", 3: "failed", 5: "gave way to another one", 6: "succeeded in part only"}


class PublishError(Exception):
    """The package was not published; the text says why."""


class UnreachableError(PublishError):
    """There is no connection to the SCM site."""


def azure_cli(*arguments: str) -> str:
    """What `az` prints. Raises PublishError."""
    if (az := shutil.which("az")) is None:
        raise PublishError("The Azure CLI (`az`) is needed, and is not on the PATH.")
    done = subprocess.run([az, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise PublishError(f"`az {' '.join(arguments[:2])}` failed:\n{done.stderr.strip()}")
    return done.stdout.strip()


def scm_url(group: str, name: str) -> str:
    """The address of an app's SCM site, as Azure knows it. Raises PublishError."""
    app = json.loads(azure_cli("functionapp", "show", "--resource-group", group, "--name", name, "--output", "json"))
    # Of Flex Consumption the CLI shows what Azure answers, of other plans its own rendering.
    hosts = (app.get("properties") or app).get("hostNameSslStates") or []
    for host in hosts:
        if host.get("hostType") == "Repository":
            return f"https://{host['name']}"
    raise PublishError(f"{name} has no SCM site.")


class ScmSite:
    """The site that takes packages. Plain http is for an emulator on this machine, and is sent no token."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise PublishError(f"{url}: a token is sent over https only")
        self._url = url.rstrip("/")
        self._secret = parts.scheme == "https"

    def latest(self) -> dict[str, Any]:
        """The deployment that the site calls its latest; nothing where it has none. Raises as `ask`."""
        try:
            answer = self.ask("/api/deployments/latest")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return answer if isinstance(answer, dict) else {}

    def ask(self, path: str, package: Path | None = None) -> Any:
        """The answer to a look (GET), or to a package (POST), decoded; the text itself where it is no JSON, an id for
        one. Raises PublishError, UnreachableError, urllib.error.HTTPError."""
        request = urllib.request.Request(f"{self._url}{path}")  # noqa: S310
        if self._secret:
            token = azure_cli("account", "get-access-token", "--query", "accessToken", "--output", "tsv")
            request.add_header("Authorization", f"Bearer {token}")
        data = None
        if package is not None:
            request.add_header("Content-Type", "application/zip")
            data = package.read_bytes()
        try:
            with urllib.request.urlopen(request, data, timeout=600) as answer:  # noqa: S310
                text = answer.read(MOST_BYTES).decode(errors="replace").strip()
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            raise UnreachableError(f"{self._url} cannot be reached: {error}") from None
        try:
            return json.loads(text)
        except ValueError:
            return text


def wake(site: ScmSite) -> dict[str, Any]:
    """The latest deployment, of a site that may have to start first. Raises PublishError, urllib.error.HTTPError."""
    deadline = time.monotonic() + WAKE_SECONDS
    while True:
        try:
            return site.latest()
        except urllib.error.HTTPError as error:
            if error.code not in STARTING:
                raise
            if time.monotonic() >= deadline:
                raise PublishError(
                    f"The SCM site has not started in {WAKE_SECONDS:.0f} s: {error.code} {error.reason}. "
                    "The package was not sent; run this again."
                ) from None
        time.sleep(POLL_SECONDS)


def same_id(one: object, other: object) -> bool:
    """Whether two ids are one: a GUID is written with hyphens and without, in either case."""
    return str(one).replace("-", "").lower() == str(other).replace("-", "").lower()


def publish(site: ScmSite, package: Path) -> None:
    """Hand in the package, and wait until it is deployed: it, and not one that was handed in before and that the site
    still calls its latest. Raises PublishError."""
    try:
        before = wake(site).get("id")
        handed_in = site.ask("/api/publish?RemoteBuild=false&Deployer=hygge", package)
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode(errors="replace").strip()
        if error.code in STARTING:
            raise PublishError(
                f"The SCM site was busy or starting, and may have the package or not: {error.code} {error.reason}. "
                f"Run this again.\n{said}".strip()
            ) from None
        raise PublishError(f"The SCM site refused the package: {error.code} {error.reason}\n{said}".strip()) from None
    ours = handed_in if isinstance(handed_in, str) and handed_in else None
    seen: Any = None
    trouble = ""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            latest = site.latest()
        except urllib.error.HTTPError as error:
            if error.code not in (401, *STARTING):
                raise PublishError(f"The SCM site does not tell how it went: {error.code} {error.reason}") from None
            latest, trouble = {}, f"{error.code} {error.reason}"
        except UnreachableError as error:
            latest, trouble = {}, str(error)
        seen = latest.get("id", seen)
        is_ours = same_id(seen, ours) if ours else seen is not None and not same_id(seen, before)
        status = latest.get("status") if is_ours else None
        if status == DONE:
            return
        if status in ENDED_OTHERWISE:
            raise PublishError(
                f"The deployment {ENDED_OTHERWISE[status]}. `az functionapp log deployment show` has more."
            )
        time.sleep(POLL_SECONDS)
    raise PublishError(
        f"Waited {WAIT_SECONDS:.0f} s for the deployment {ours or ''} to end; the latest is {seen or 'none'}. "
        f"{f'The site has last said: {trouble}. ' if trouble else ''}"
        "`az functionapp log deployment show` has more."
    )


def main(arguments: list[str] | None = None) -> int:
    """Publish; 0 when it is done, 1 when it could not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="a package with its dependencies: package.py --with-dependencies")
    parser.add_argument("--resource-group", required=True, help="AZURE_RESOURCE_GROUP of the deployment")
    parser.add_argument("--name", required=True, help="AZURE_FUNCTION_APP_NAME of the deployment")
    parser.add_argument("--scm-url", help="address of the SCM site (default: asked of Azure)")
    given = parser.parse_args(arguments)
    try:
        publish(ScmSite(given.scm_url or scm_url(given.resource_group, given.name)), given.package)
    except (PublishError, OSError) as error:
        print(f"publish: {error}", file=sys.stderr)
        return 1
    print(f"publish: {given.name} has the package", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
