#!/usr/bin/env python3
"""What `azd up` does beside the template: before it, the mirrored database; after it, the roles outside Azure;
and before it packs, what host.json says of the backend.

azd runs this by itself (see azure.yaml) with the values of its environment. Each step looks first and changes only what
is missing, so it can be run again at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent

# What must be known before anything is created, and what it is.
NEEDED = {
    "SQL_SERVER": "the SQL Server to read from: a host, or host,port",
    "SQL_DATABASE": "the database to read from",
    "WORKSPACE_ID": "GUID of the Fabric workspace",
}


# The backends of durable state, as host.json names them.
STORAGE = {"maxQueuePollingInterval": "00:00:05"}
SCHEDULER = {"type": "azureManaged", "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING"}

# What every resource that bears the name takes; azd itself takes more.
ENVIRONMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")


def before() -> int:
    """Check the values, and create the mirrored database where only its name is known."""
    name = os.environ.get("AZURE_ENV_NAME", "")
    if name and not ENVIRONMENT_NAME.fullmatch(name):
        say(f"{name} cannot be part of a function app's name. Take 1 to 32 letters, digits and hyphens: azd env new …")
        return 1
    missing = {name: text for name, text in NEEDED.items() if not os.environ.get(name)}
    if not os.environ.get("MIRROR_ID") and not os.environ.get("MIRROR_NAME"):
        missing["MIRROR_NAME"] = "name of the mirrored database to create (or MIRROR_ID, the GUID of one that exists)"
    if missing:
        say("Some values are missing. Set them and run azd again:")
        for name, text in missing.items():
            say(f"  azd env set {name} …    # {text}")
        return 1
    if os.environ.get("PRIVATE_NETWORK", "").lower() == "true" and not os.environ.get("DEPLOY_ALLOW_LIST"):
        say("PRIVATE_NETWORK: the app will take its package from inside the network, or from an address of")
        say("DEPLOY_ALLOW_LIST, which is empty (docs/deploy/network.md).")
    if os.environ.get("MIRROR_ID"):
        return 0
    created = fabric("create-mirror", "--name", os.environ["MIRROR_NAME"], output=True)
    if created.returncode != 0:
        return created.returncode
    return tool("azd", "env", "set", "MIRROR_ID", created.stdout.strip())


def after() -> int:
    """Let the app's identity into the Fabric workspace and the source database."""
    granted = fabric("grant-role", "--principal-id", os.environ["HYGGE_IDENTITY_PRINCIPAL_ID"])
    if granted.returncode != 0:
        return granted.returncode
    schemas = [name.strip() for name in os.environ.get("SQL_SCHEMAS", "dbo").split(",")]
    options = [option for name in schemas for option in ("--schema", name)]
    if os.environ.get("SQL_CHANGE_TRACKING", "").lower() == "true":
        options.append("--change-tracking")
    identity = ["--identity-name", os.environ["HYGGE_IDENTITY_NAME"]]
    identity += ["--client-id", os.environ["HYGGE_IDENTITY_CLIENT_ID"]]
    command = [sys.executable, str(SCRIPTS / "sql_user.py"), *identity, *options]
    statements = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if statements.returncode != 0:
        return statements.returncode
    return run_sql(statements.stdout)


def package() -> int:
    """Write the backend of durable state into host.json, which azd packs as it is."""
    host = SCRIPTS.parents[1] / "host.json"
    settings = json.loads(host.read_text())
    durable = settings["extensions"]["durableTask"]
    wanted = SCHEDULER if os.environ.get("DURABLE_TASK_SCHEDULER", "").lower() == "true" else STORAGE
    if durable["storageProvider"] != wanted:
        durable["storageProvider"] = wanted
        host.write_text(json.dumps(settings, indent=2) + "\n")
        say("host.json now says where this deployment keeps durable state (DURABLE_TASK_SCHEDULER). Commit it.")
    return 0


def run_sql(statements: str) -> int:
    """Run the statements in the source; where that is not possible from here, show them."""
    server, database = os.environ["SQL_SERVER"], os.environ["SQL_DATABASE"]
    if (sqlcmd := shutil.which("sqlcmd")) is None:
        say("There is no sqlcmd here.")
    else:
        command = [sqlcmd, "-S", server, "-d", database, "-G", "-b"]
        if subprocess.run(command, input=statements, text=True, check=False).returncode == 0:  # noqa: S603
            say(f"The app may read {database}.")
            return 0
        say("sqlcmd could not run the statements, for the reason above.")
    say(f"Everything is deployed. Run this in {database} on {server}, as its Entra administrator:\n\n{statements}")
    return 0


def fabric(command: str, *arguments: str, output: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command of fabric.py in the workspace of the environment."""
    api = ["--api-url", os.environ["FABRIC_API_URL"]] if os.environ.get("FABRIC_API_URL") else []
    workspace = ["--workspace-id", os.environ["WORKSPACE_ID"]]
    whole = [sys.executable, str(SCRIPTS / "fabric.py"), *api, command, *workspace, *arguments]
    return subprocess.run(whole, stdout=subprocess.PIPE if output else None, text=True, check=False)  # noqa: S603


def tool(name: str, *arguments: str) -> int:
    """Run a tool from the PATH."""
    if (found := shutil.which(name)) is None:
        say(f"{name} is not on the PATH.")
        return 1
    return subprocess.run([found, *arguments], check=False).returncode  # noqa: S603


def say(text: str) -> None:
    """Tell what happened."""
    print(text, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run a hook."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "hook", choices=("before", "after", "package"), help="before or after `azd provision`, or before it packs"
    )
    return {"before": before, "after": after, "package": package}[parser.parse_args(arguments).hook]()


if __name__ == "__main__":
    sys.exit(main())
