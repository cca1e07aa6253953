"""The pipelines call what exists, log in without a secret, and ask for little; deploy.sh does what azd does."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.az_commands import written as az_commands
from tests.support.deployment import files_to_deploy
from tests.support.planted import plant
from tests.unit.infra_scenarios import BICEP_ONLY, snake

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PIPELINES = [*WORKFLOWS, *sorted((ROOT / "azure-pipelines").rglob("*.yml"))]

# Tasks of Microsoft's own that run our scripts.
OFFICIAL_TASKS = {"AzureCLI@2", "UsePythonVersion@0"}

VARIABLES = ["AZURE_ENV_NAME", "AZURE_LOCATION", "SQL_SERVER", "SQL_DATABASE", "WORKSPACE_ID", "MIRROR_ID"]


def read(path: Path) -> dict[str, Any]:
    # YAML 1.1 takes the key `on` for a boolean.
    document: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)
    return document


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pipelines_log_in_without_a_secret(path: Path) -> None:
    text = path.read_text()

    assert "secrets." not in text
    assert not re.search(r"client-secret|creds:|publish-profile|PUBLISH_PROFILE|clientSecret|-p ", text)
    if "azure/login@" in text:
        assert text.count("azure/login@") == text.count("client-id:") == text.count("id-token: write")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_commits(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())

    assert used
    for action, comment in used:
        if action.startswith("./"):
            assert (ROOT / action).is_file()
        else:
            assert re.fullmatch(r"(actions|azure)/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


# Machines that GitHub and Azure DevOps lend, by their lasting names: `latest` becomes another one day.
RUNNERS = {"ubuntu-24.04", "windows-2025", "macos-15"}

# What Entra ID is told of GitHub, and what of an answer the commands of pages and scripts pick: a wrong path picks
# nothing, and says so nowhere.
FEDERATION = {"--issuer": "https://token.actions.githubusercontent.com", "--audiences": "api://AzureADTokenExchange"}
PICKED = {
    ("account get-access-token", "accessToken"),
    ("account show", "id"),
    ("ad app create", "appId"),
    ("deployment sub show", "properties.outputs"),
    ("functionapp keys list", "functionKeys.default"),
    ("functionapp list", "[].name"),
    ("identity show", "principalId"),
    ("keyvault secret show", "value"),
    ("network vnet subnet show", "id"),
    ("provider show", "resourceTypes[?resourceType=='schedulers'].locations"),
}


def pipeline_faults(root: Path) -> list[str]:
    """What a pipeline would not run, or would run otherwise than it looks: a line for each."""
    found = []
    pins: dict[str, set[str]] = {}
    for path in [*(root / ".github/workflows").glob("*.yml"), *(root / "azure-pipelines").rglob("*.yml")]:
        text = path.read_text()
        for named in re.findall(r"(?:runs-on|vmImage): ([^$\s]+)|^ +os: \[(.+)\]", text, re.M):
            found += [f"{path.name}: {name}" for name in "".join(named).split(", ") if name not in RUNNERS]
        for action, commit, version in re.findall(r"uses: (\S+)@([0-9a-f]{40}) # (\S+)", text):
            pins.setdefault(f"{action} {version}", set()).add(commit)
        declared = {each["name"] for each in read(path).get("parameters", [])}
        found += [
            f"{path.name}: {name} is no parameter"
            for name in re.findall(r"\$\{\{ *parameters\.(\w+) *\}\}", text)
            if name not in declared
        ]
        for template, given in _templates(read(path)):
            wanted = {each["name"]: "default" in each for each in read(path.parent / template).get("parameters", [])}
            lacking = {name for name, has_default in wanted.items() if not has_default}
            found += [f"{path.name}: {name} for {template}" for name in (given - wanted.keys()) | (lacking - given)]
    for action, commits in pins.items():
        if len(commits) > 1 or any(len(set(commit)) < 6 for commit in commits):
            found.append(f"{action} is {' and '.join(sorted(commits))}")
    page = (root / "docs/deploy/pipelines.md").read_text()
    for option, value in FEDERATION.items():
        found += [f"pipelines.md: {option} {other}" for other in re.findall(rf"{option} (\S+)", page) if other != value]
    return found


def _templates(node: Any) -> list[tuple[str, set[str]]]:
    """Each template that a pipeline of Azure DevOps takes in, with the names of what it is given."""
    if isinstance(node, list):
        return [each for item in node for each in _templates(item)]
    if not isinstance(node, dict):
        return []
    own = [(node["template"], set(node.get("parameters", {})))] if "template" in node else []
    return own + [each for item in node.values() for each in _templates(item)]


def test_pipelines_run_what_they_seem_to_run() -> None:
    assert pipeline_faults(ROOT) == []


@pytest.mark.parametrize(
    ("file", "written", "instead", "named"),
    [
        (".github/workflows/deploy.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest", "ubuntu-latest"),
        (".github/workflows/test.yml", "windows-2025, macos-15]", "windows-2052, macos-15]", "windows-2052"),
        ("azure-pipelines/deploy.yml", "vmImage: ubuntu-24.04", "vmImage: ubuntu-22.04", "ubuntu-22.04"),
        ("azure-pipelines/templates/deploy-step.yml", "parameters.connection", "parameters.conection", "conection"),
        ("azure-pipelines/deploy.yml", "              arguments: --what-if", "              args: --what-if", "args"),
        ("azure-pipelines/deploy.yml", "                    connection: $(SERVICE_CONNECTION)\n", "", "connection"),
        (".github/workflows/deploy.yml", "@34e114876b0b11c390a56381ad16ebd13914f8d5", f"@{'0' * 40}", "0000"),
        (".github/workflows/deploy.yml", "@34e114876b0b11c390a5", "@34e114876b0b11c390a6", "34e114876b0b11c390a6"),
        ("docs/deploy/pipelines.md", "api://AzureADTokenExchange", "api://AzureADTokenExchanges", "--audiences"),
        ("docs/deploy/pipelines.md", "https://token.actions.", "https://tokens.actions.", "--issuer"),
    ],
)
def test_what_a_pipeline_would_not_run_is_found(
    tmp_path: Path, file: str, written: str, instead: str, named: str
) -> None:
    for folder in (".github", "azure-pipelines", "docs/deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    plant(tmp_path / file, written, instead)

    assert any(named in line for line in pipeline_faults(tmp_path))


def test_what_commands_pick_of_an_answer_is_there() -> None:
    picked = {
        (" ".join(takewhile(lambda word: not word.startswith("-"), each.words)), option)
        for each in az_commands()
        for word, option in pairwise(each.words)
        if word == "--query"
    }

    assert picked == PICKED


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_ask_for_the_least_rights(path: Path) -> None:
    workflow = read(path)

    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job.get("permissions", {}).items() <= {"contents": "read", "id-token": "write"}.items()
        assert "timeout-minutes" in job or "uses" in job


def test_tasks_are_microsofts_own() -> None:
    used = {task for path in PIPELINES for task in re.findall(r"- task: (\S+)", path.read_text())}

    assert used == OFFICIAL_TASKS


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_pipelines_call_exists(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for called in re.findall(r"(infra/[\w./-]+|requirements[\w-]*\.txt|docs/[\w./-]+\.md)", text):
        if called != "infra/terraform":
            assert (ROOT / called).exists(), called
    assert set(re.findall(r"(?:run|script): make (\S+)", text)) <= targets


@pytest.mark.parametrize(
    "path", [ROOT / ".github/workflows/deploy.yml", ROOT / "azure-pipelines/deploy.yml"], ids=["GitHub", "Azure DevOps"]
)
def test_nothing_is_deployed_that_was_not_tested_and_approved(path: Path) -> None:
    document = read(path)
    if "jobs" in document:
        jobs = document["jobs"]
        assert jobs["what-if"]["needs"] == "test"
        assert (jobs["deploy"]["needs"], jobs["deploy"]["environment"]) == ("what-if", "production")
    else:
        stages = {stage["stage"]: stage for stage in document["stages"]}
        assert stages["preview"]["dependsOn"] == "test"
        assert stages["deploy"]["dependsOn"] == "preview"
        assert stages["deploy"]["jobs"][0]["environment"] == "production"


def names_by_place(root: Path) -> dict[str, dict[str, str]]:
    """The variables of a deployment as each place lists them: name, and what the place makes of it."""
    parameters = re.findall(
        r"^param (\w+) = .*readEnvironmentVariable\('(\w+)'", (root / "infra/bicep/main.bicepparam").read_text(), re.M
    )
    (step,) = read(root / "azure-pipelines/templates/deploy-step.yml")["steps"]
    page = (root / "docs/deploy/pipelines.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {
        "parameter file": {variable: parameter for parameter, variable in parameters},
        "GitHub": {
            name: value.removeprefix("${{ vars.").removesuffix(" }}")
            for name, value in read(root / ".github/workflows/deploy.yml")["env"].items()
        },
        "Azure DevOps": {name: value.removeprefix("$(").removesuffix(")") for name, value in step["env"].items()},
        "page": {name: name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)},
    }


# What infra/scripts/deploy.sh reads itself, beside what it hands on to the parameter file.
OF_THE_SCRIPT = {"DEPLOY_BUILD"}


def disagreements(root: Path) -> list[str]:
    """Where the places that name the variables of a deployment do not say the same."""
    places = names_by_place(root)
    parameters = places.pop("parameter file")
    wanted = parameters.keys() | OF_THE_SCRIPT
    found = [f"{place}: {name}" for place, names in places.items() for name in sorted(names.keys() ^ wanted)]
    found += [
        f"{place}: {name} is {value}"
        for place, names in places.items()
        for name, value in names.items()
        if name != value
    ]
    declared = re.findall(r'^variable "(\w+)"', (root / "infra/terraform/variables.tf").read_text(), re.M)
    return found + [
        f"Terraform: {name}"
        for name in map(snake, set(parameters.values()) - BICEP_ONLY.keys())
        if name not in declared
    ]


def test_every_place_that_names_the_variables_names_them_all() -> None:
    assert set(VARIABLES) < names_by_place(ROOT)["parameter file"].keys()
    assert disagreements(ROOT) == []


@pytest.mark.parametrize(
    ("file", "written", "instead", "named"),
    [
        (".github/workflows/deploy.yml", "  PRIVATE_NETWORK: ${{ vars.PRIVATE_NETWORK }}\n", "", "PRIVATE_NETWORK"),
        (".github/workflows/deploy.yml", "vars.PUBLIC_API", "vars.PRIVATE_NETWORK", "PUBLIC_API"),
        ("azure-pipelines/templates/deploy-step.yml", "      KEY_VAULT: $(KEY_VAULT)\n", "", "KEY_VAULT"),
        ("infra/bicep/main.bicepparam", "'ALERT_EMAIL'", "'ALERT_MAIL'", "ALERT_MAIL"),
        ("infra/terraform/variables.tf", 'variable "key_vault"', 'variable "vault"', "key_vault"),
        ("docs/deploy/pipelines.md", "`HYGGE_SCHEDULE`", "the schedule", "HYGGE_SCHEDULE"),
    ],
)
def test_a_variable_that_one_place_lacks_is_found(
    tmp_path: Path, file: str, written: str, instead: str, named: str
) -> None:
    for folder in (".github", "azure-pipelines", "infra", "docs/deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    text = (tmp_path / file).read_text()
    assert text.count(written) == 1
    (tmp_path / file).write_text(text.replace(written, instead))

    assert any(named in line for line in disagreements(tmp_path))


@pytest.mark.parametrize("path", [".github/workflows/deploy.yml", "azure-pipelines/deploy.yml"])
def test_what_is_shown_and_what_is_deployed_come_of_the_same_script(path: str) -> None:
    text = (ROOT / path).read_text()

    assert text.count("--what-if") == 1
    assert "az deployment" not in text


# What Azure returns, as oddly as it writes names.
OUTPUTS = """*show*) echo '{"azurE_FUNCTION_APP_NAME": {"value": "the-app"},
"aZURE_RESOURCE_GROUP": {"value": "the-group"}, "AZURE_FUNCTION_APP_URL": {"value": "https://app.example.com"}}';;"""


def run_deploy(tmp_path: Path, az: str, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """deploy.sh with a fake Azure CLI, a shell script."""
    tool = tmp_path / "az"
    tool.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/az.seen\n{az}\n')
    tool.chmod(0o755)
    environment = {name: f"value-of-{name}" for name in VARIABLES} | {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "AZURE_ENV_NAME": "shop",
        "DEPLOY_PAUSE_SECONDS": "0",
        **more,
    }
    command = ["sh", str(ROOT / "infra/scripts/deploy.sh"), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_deploy_sh_creates_then_publishes_what_funcignore_leaves(tmp_path: Path) -> None:
    keep = f'for word in "$@"; do case $word in *.zip) cp "$word" {tmp_path}/seen.zip;; esac; done'
    az = f'case "$*" in *--src*) {keep};; {OUTPUTS} esac'

    done = run_deploy(tmp_path, az)

    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "az.seen").read_text().splitlines()
    assert calls[0].startswith("deployment sub create --name hygge-shop")
    (published,) = [call for call in calls if "config-zip" in call]
    assert "--build-remote true" in published
    assert "--resource-group the-group --name the-app" in published
    with zipfile.ZipFile(tmp_path / "seen.zip") as package:
        assert sorted(package.namelist()) == files_to_deploy()


def test_deploy_sh_tries_again_while_a_role_is_not_known_yet(tmp_path: Path) -> None:
    fail_once = f"[ -f {tmp_path}/second ] || {{ touch {tmp_path}/second; exit 1; }}"
    az = f'case "$*" in *config-zip*) {fail_once};; {OUTPUTS} esac'

    assert run_deploy(tmp_path, az).returncode == 0
    assert (tmp_path / "az.seen").read_text().count("config-zip") == 2


def test_deploy_sh_gives_up_in_the_end(tmp_path: Path) -> None:
    done = run_deploy(tmp_path, f'case "$*" in *config-zip*) exit 1;; {OUTPUTS} esac')

    assert done.returncode == 1
    assert (tmp_path / "az.seen").read_text().count("config-zip") == 3
    assert "DEPLOY_ALLOW_LIST" not in done.stderr


def test_deploy_sh_says_from_where_a_private_app_takes_packages(tmp_path: Path) -> None:
    done = run_deploy(tmp_path, f'case "$*" in *config-zip*) exit 1;; {OUTPUTS} esac', PRIVATE_NETWORK="true")

    assert done.returncode == 1
    assert "DEPLOY_ALLOW_LIST" in done.stderr


@pytest.mark.parametrize("missing", VARIABLES)
def test_deploy_sh_says_what_is_missing_and_does_nothing(tmp_path: Path, missing: str) -> None:
    done = run_deploy(tmp_path, "true", **{missing: ""})

    assert done.returncode == 2
    assert f"{missing} is not set" in done.stderr
    assert not (tmp_path / "az.seen").exists()


def test_deploy_sh_takes_what_a_pipeline_passes_unset_for_not_set(tmp_path: Path) -> None:
    unset = {"PRIVATE_NETWORK": "", "PUBLIC_API": "$(PUBLIC_API)", "HYGGE_SCHEDULE": ""}

    done = run_deploy(tmp_path, f'env >>{tmp_path}/env.seen; case "$*" in {OUTPUTS} esac', **unset, KEY_VAULT="true")

    assert done.returncode == 0, done.stderr
    seen = (tmp_path / "env.seen").read_text()
    assert "KEY_VAULT=true" in seen
    assert not any(f"{name}=" in seen for name in unset)


@pytest.mark.parametrize("value", ["", "$(MIRROR_ID)"])
def test_deploy_sh_misses_what_a_pipeline_passes_unset(tmp_path: Path, value: str) -> None:
    assert "MIRROR_ID is not set" in run_deploy(tmp_path, "true", MIRROR_ID=value).stderr


def test_who_may_look_may_change_nothing() -> None:
    role = json.loads((ROOT / "infra/roles/what-if.json").read_text())
    (step,) = read(ROOT / "azure-pipelines/templates/deploy-step.yml")["steps"]
    text = (ROOT / "azure-pipelines/deploy.yml").read_text()

    for action in role["Actions"]:
        assert "*" not in action
        assert action.rpartition("/")[0].endswith(("/validate", "/whatIf")) or action.endswith("/read")
    assert step["inputs"]["azureSubscription"] == "${{ parameters.connection }}"
    assert re.findall(r"connection: (.+)", text) == ["$(PREVIEW_CONNECTION)", "$(SERVICE_CONNECTION)"]


def test_who_deploys_grants_the_roles_of_the_template_and_no_other() -> None:
    condition = (ROOT / "infra/roles/deploy-condition.txt").read_text()
    granted = re.findall(r"= '([0-9a-f-]{36})'", (ROOT / "infra/bicep/modules/access.bicep").read_text())
    rules = condition.split("\nAND\n(\n")

    assert len(rules) == 2
    for rule, action in zip(rules, ("write", "delete"), strict=True):
        assert f"roleAssignments/{action}'" in rule
        assert re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", rule) == granted
        assert "{'ServicePrincipal'}" in rule
    assert "infra/roles/deploy-condition.txt" in (ROOT / "docs/deploy/pipelines.md").read_text()


def test_deploy_sh_tells_an_output_however_azure_writes_its_name(tmp_path: Path) -> None:
    only = {name: "" for name in VARIABLES if name != "AZURE_ENV_NAME"}
    az = f'case "$*" in {OUTPUTS} esac'

    assert run_deploy(tmp_path, az, "--output", "AZURE_FUNCTION_APP_NAME", **only).stdout == "the-app\n"
    missing = run_deploy(tmp_path, az, "--output", "AZURE_FUNCTION_APP", **only)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no output AZURE_FUNCTION_APP" in missing.stderr
    assert run_deploy(tmp_path, az, "--output", **only).returncode != 0
    failed = run_deploy(tmp_path, "echo no such deployment >&2; exit 3", "--output", "AZURE_FUNCTION_APP_NAME", **only)
    assert (failed.returncode, failed.stderr) == (3, "no such deployment\n")


def test_deploy_sh_can_show_and_change_nothing(tmp_path: Path) -> None:
    done = run_deploy(tmp_path, "true", "--what-if")

    assert done.returncode == 0, done.stderr
    (call,) = (tmp_path / "az.seen").read_text().splitlines()
    assert call.startswith("deployment sub what-if --name hygge-shop")
    # Otherwise the caller must be allowed to do all that would be done.
    assert call.endswith("--validation-level ProviderNoRbac")
    assert run_deploy(tmp_path, "true", "--whatif").returncode == 2


class ScmSite:
    """Stands in for the site that takes packages: what it was sent, and how the deployment ends."""

    def __init__(self, ends: list[int | None], refuses: int = 0, old: list[Any] | None = None) -> None:
        # ``old``: what it calls its latest before it is handed anything, and how often it does so after that.
        self.ends, self.refuses, self.names_ids = ends, refuses, True
        self.old = old or []
        self.asked: list[str] = []
        self.package = b""
        # What it answers to the first looks: before it is handed the package, and after.
        self.waking: list[int] = []
        self.restarting: list[int] = []
        self.handed_id, self.shown_id = "an id", "an id"
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                site.asked.append(self.path)
                site.package = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(
                    site.refuses or HTTPStatus.ACCEPTED, json.dumps(site.handed_id).encode() if site.names_ids else b""
                )

            def do_GET(self) -> None:
                busy = site.restarting if site.package else site.waking
                if busy:
                    self.answer(busy.pop(0), b"")
                    return
                if not site.package and not site.old:
                    self.answer(HTTPStatus.NOT_FOUND, b"")
                    return
                id_, status = ("an older id", site.old.pop(0)) if site.old else (site.shown_id, site.ends.pop(0))
                body = json.dumps({"id": id_, "status": status}).encode()
                self.answer(HTTPStatus.NOT_FOUND if status is None else HTTPStatus.OK, body)

            def answer(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> ScmSite:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def publish_unbuilt(tmp_path: Path, url: str, wakes_within: float = 30) -> subprocess.CompletedProcess[str]:
    (tmp_path / "package.zip").write_bytes(b"a package")
    arguments = ["--resource-group", "g", "--name", "app", "--scm-url", url, str(tmp_path / "package.zip")]
    # Waiting takes no time here: nothing else is changed.
    quick = f"publish.POLL_SECONDS = 0.01; publish.WAKE_SECONDS = {wakes_within}"
    program = f"import sys, publish; {quick}; sys.exit(publish.main(sys.argv[1:]))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, 'infra/scripts'); {program}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("ends", "refuses", "said"),
    [([4], 0, ""), ([3], 0, "failed"), ([6], 0, "in part"), ([-1], 0, "cancelled"), ([], 403, "403"), ([], 409, "409")],
)
def test_a_package_is_published_unbuilt_and_waited_for(
    tmp_path: Path, ends: list[int | None], refuses: int, said: str
) -> None:
    with ScmSite(ends, refuses) as site:
        done = publish_unbuilt(tmp_path, site.url)

    assert (done.returncode, site.package) == (1 if said else 0, b"a package"), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    (asked,) = site.asked
    assert "RemoteBuild=false" in asked


@pytest.mark.parametrize("names_ids", [True, False])
@pytest.mark.parametrize("old", [[4, 4], [3, 3], [6, 6], [4, None, 4]])
@pytest.mark.parametrize(("ends", "code"), [(4, 0), (3, 1)])
def test_an_older_deployment_is_not_taken_for_this_one(
    tmp_path: Path, names_ids: bool, old: list[int | None], ends: int, code: int
) -> None:
    with ScmSite([ends], old=list(old)) as site:
        site.names_ids = names_ids
        done = publish_unbuilt(tmp_path, site.url)

    assert done.returncode == code, done.stderr
    assert site.old == site.ends == [], "it waited for its own"


@pytest.mark.parametrize(
    ("waking", "restarting", "said"),
    [
        ([503, 502, 504, 408], [504, 408, 401, 429, 502, 503, 500], ""),
        ([503] * 1000, [], "has not started in 0 s: 503"),
        ([401], [], "refused the package: 401"),
        ([], [403], "does not tell how it went: 403"),
    ],
)
def test_a_site_that_starts_is_waited_for(tmp_path: Path, waking: list[int], restarting: list[int], said: str) -> None:
    sent = b"" if waking and said else b"a package"
    with ScmSite([4]) as site:
        site.waking, site.restarting = list(waking), list(restarting)
        # One that never starts is not waited for as long as the slowest machine takes for those that do.
        done = publish_unbuilt(tmp_path, site.url, 0.2 if "not started" in said else 30)

    assert done.returncode == (1 if said else 0), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert site.package == sent


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_site_that_may_have_taken_the_package_is_told(tmp_path: Path, code: int) -> None:
    with ScmSite([], code) as site:
        done = publish_unbuilt(tmp_path, site.url)

    assert done.returncode == 1
    assert f"may have the package or not: {code}" in done.stderr
    assert "Run this again" in done.stderr


@pytest.mark.parametrize(
    ("handed", "shown"),
    [
        ("6f1d5e0c-8a3b-4c2d-9e7f-0123456789ab", "6f1d5e0c8a3b4c2d9e7f0123456789ab"),
        ("6F1D5E0C8A3B4C2D9E7F0123456789AB", "6f1d5e0c-8a3b-4c2d-9e7f-0123456789ab"),
    ],
)
def test_an_id_is_the_same_however_it_is_spelled(tmp_path: Path, handed: str, shown: str) -> None:
    with ScmSite([4]) as site:
        site.handed_id, site.shown_id = handed, shown
        done = publish_unbuilt(tmp_path, site.url)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shown", ['{"properties": {"hostNameSslStates": %s}}', '{"hostNameSslStates": %s}'])
def test_the_scm_site_is_asked_of_azure(tmp_path: Path, shown: str) -> None:
    hosts = [{"name": "localhost:1", "hostType": "Repository"}, {"name": "app.example.com", "hostType": "Standard"}]
    put = tmp_path / "az"
    put.write_text(
        f"#!/bin/sh\ncase \"$*\" in *show*) echo '{shown % json.dumps(hosts[::-1])}';; *) echo token;; esac\n"
    )
    put.chmod(0o755)
    (tmp_path / "package.zip").write_bytes(b"a package")
    command = [sys.executable, str(ROOT / "infra/scripts/publish.py"), "--resource-group", "g", "--name", "app"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [*command, str(tmp_path / "package.zip")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert "https://localhost:1 cannot be reached" in done.stderr


def test_a_package_and_its_token_travel_by_tls_only(tmp_path: Path) -> None:
    done = publish_unbuilt(tmp_path, "http://scm.example.com")

    assert done.returncode == 1
    assert "https only" in done.stderr


def test_deploy_sh_can_build_here_for_the_platform(tmp_path: Path) -> None:
    # A fake pip, which records its arguments and installs one file.
    (tmp_path / "modules/pip").mkdir(parents=True)
    (tmp_path / "modules/pip/__main__.py").write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'pip.seen')!r}).write_text(' '.join(sys.argv[1:]))\n"
        "target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1])\n"
        "target.joinpath('module.py').write_text('')\n"
    )
    (tmp_path / "modules/pip/__init__.py").touch()
    az = f'case "$*" in {OUTPUTS} esac'

    local = {"DEPLOY_BUILD": "local", "DURABLE_TASK_SCHEDULER": "true", "PYTHONPATH": str(tmp_path / "modules")}
    with ScmSite([4]) as site:
        done = run_deploy(tmp_path, az, DEPLOY_SCM_URL=site.url, **local)

    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "pip.seen").read_text()
    assert "--python-version 3.13" in asked
    assert "--platform manylinux" in asked
    assert "--only-binary :all:" in asked
    assert "--ignore-requires-python" in asked
    # The Azure CLI has Python apps built whatever its options.
    assert "config-zip" not in (tmp_path / "az.seen").read_text()
    with zipfile.ZipFile(io.BytesIO(site.package)) as package:
        assert set(package.namelist()) == {*files_to_deploy(), ".python_packages/lib/site-packages/module.py"}
        assert b"azureManaged" in package.read("host.json")
