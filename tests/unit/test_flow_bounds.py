"""What an author of a flow can reach: no other machine, no file beyond the project, none of the project's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import Problem, load_project
from hygge_engine.project.reading.bounds import AZURE_INSTANCE
from tests.unit.project_files import ENVIRONMENT, FLOW, HYGGE, write_project

STORE = FLOW[FLOW.index("store:") : FLOW.index("watermark:")]

# Addresses that are not this machine and not Microsoft's, as careless readers of URLs might take them.
ELSEWHERE = [
    "http://evil.example.com",
    "https://evil.example.com",
    "http://onelake.dfs.fabric.microsoft.com",
    "http://10.0.0.4:10000",
    "http://0.0.0.0:10000",
    "http://127.0.0.1.evil.example.com",
    "http://localhost.evil.example.com",
    "http://127.0.0.1@evil.example.com",
    "http://2130706433",
    "https://fabric.microsoft.com.evil.example.com",
    "https://evilfabric.microsoft.com",
    "https://evil.example.com\\\\.dfs.core.windows.net",
    "https://evil.example.com#.dfs.core.windows.net",
    "https://evil.example.com?.dfs.core.windows.net",
    "https://evil.example.com/.dfs.core.windows.net",
    "https://169.254.169.254/metadata",
    "https://[::ffff:169.254.169.254]",
    "file:///etc/passwd",
    "ftp://evil.example.com",
]
ALLOWED = [
    "https://onelake.dfs.fabric.microsoft.com",
    "https://ONELAKE.dfs.fabric.microsoft.com/",
    "https://westeurope-onelake.dfs.fabric.microsoft.com",
    "https://shop.dfs.core.windows.net",
    "https://shop.z12.dfs.storage.azure.net",
    "http://127.0.0.1:10000",
    "http://localhost:10000",
    "http://[::1]:10000",
    "https://127.0.0.1:10000/account",
]

LAKE = "filesystem: data, credential: account_key, account_name: shop, account_key: aGFsbG8="


def problems_of(
    directory: Path, files: Mapping[str, str], environment: Mapping[str, str] = ENVIRONMENT
) -> list[Problem]:
    write_project(directory, **files)
    try:
        load_project(directory, environment)
    except ConfigurationError as error:
        return list(error.problems)
    return []


def flow(*, home: str = "", store: str = "", more: str = "") -> str:
    text = FLOW.replace(STORE, f"store: {store}\n") if store else FLOW
    if home:
        begin, end = text.index("home:"), text.index("store:")
        text = f"{text[:begin]}home: {home}\n{text[end:]}".replace("run_type: incremental", "run_type: full_drop")
    return text + more


def lakes(address: str) -> dict[str, dict[str, str]]:
    """Every key of the files that names a lake, or Fabric."""
    url = json.dumps(address)
    lake = f"account_url: {url}, {LAKE}"
    api = STORE.replace("  key_columns", f"  fabric_api_url: {url}\n  key_columns")
    journal = f"\njournal: {{ location: {{ type: adls, {lake} }} }}\n"
    database = f"{{ type: mssql, connection: shop_db, schema_name: landed, journal_folder: {{ path: j, {lake} }} }}"
    files = {
        "home": flow(home=f"{{ type: adls, {lake}, format: csv }}"),
        "store": flow(store=f"{{ type: adls, {lake}, key_columns: [id] }}"),
        "mirror": flow(store=f"{{ type: open_mirroring, mirror_name: m, {lake}, key_columns: [id] }}"),
        "fabric": FLOW.replace(STORE, api),
        "flow's journal": flow(more=journal),
        "database's journal": flow(store=database),
    }
    return {
        **{name: {"flows__orders_to_fabric__flow": text} for name, text in files.items()},
        "journal": {"hygge": HYGGE + journal},
    }


@pytest.mark.parametrize("address", ELSEWHERE)
def test_no_credential_goes_to_a_host_of_somebody_else(tmp_path: Path, address: str) -> None:
    for name, files in lakes(address).items():
        found = problems_of(tmp_path / name, files)
        assert found, name
        assert any("account_url" in problem.message or "fabric_api_url" in problem.message for problem in found), name


@pytest.mark.parametrize("address", ALLOWED)
def test_lakes_of_microsoft_and_of_this_machine_are_reached(tmp_path: Path, address: str) -> None:
    for name, files in lakes(address).items():
        found = problems_of(tmp_path / name, files)
        # OneLake has rules of its own for what lies where.
        assert [problem for problem in found if "only folders below Files/" not in problem.message] == [], name


def test_a_host_of_ones_own_is_named_in_hygge_yml(tmp_path: Path) -> None:
    hygge = HYGGE + 'options: {{ lake_hosts: ["*.lake.example.com", shop.dfs.core.windows.net] }}\n'.format()
    files = lakes("https://a.lake.example.com")["store"]
    assert problems_of(tmp_path / "a", {"hygge": hygge, **files}) == []
    [problem] = problems_of(tmp_path / "b", files)
    assert "a.lake.example.com" in problem.found
    assert "options.lake_hosts" in problem.message
    # The list is the whole list: who names one account has excluded all others.
    assert problems_of(tmp_path / "c", {"hygge": hygge, **lakes("https://other.dfs.core.windows.net")["store"]})
    assert problems_of(tmp_path / "d", {"hygge": hygge, **lakes("https://lake.example.com")["store"]})


BEYOND = ["/etc/passwd", "../victim", "a/../../victim", "..", "/", "data/../../x/{entity}"]
OWN = [
    *(".", "./", "local.settings.json", "LOCAL.settings.json", "*.json", "l*", "**/*.json", "hygge.yml", "host.json"),
    *("function_app.py", "flows", "flows/other/flow.yml", "flows/orders_to_fabric/flow.yml", "fl*/x", ".git/config"),
    *("sub/.git/config", "a/LOCAL.settings.json", "local.settings.json.bak", "infra/prod.tfstate", "id_rsa", "a/x.pem"),
    *("wh/.hygge_journal", "wh/.hygge_lake/x", "flows/orders_to_fabric/.env", "flows/orders_to_fabric/x.tfvars"),
    *("flows/orders_to_fabric/ent*", "flows/orders_to_fabric/[e]ntities/*.yml"),
    *("data/../local.settings.json", ".env", "hygge_engine/errors.py", "flows/orders_to_fabric/entities/x.yml", "*"),
]
GOOD = ["data", "data/{entity}", "data/*.csv", "*.csv", "{entity}.csv", "a/../b", "flows/orders_to_fabric/data"]


def places(path: str) -> dict[str, dict[str, str]]:
    """Every key of the files that names a file or directory of this machine."""
    text = json.dumps(path)
    database = f"{{ type: mssql, connection: shop_db, schema_name: landed, journal_folder: {{ path: {text} }} }}"
    return {
        name: {"flows__orders_to_fabric__flow": content}
        for name, content in {
            "home": flow(home=f"{{ type: local, path: {text}, format: csv }}"),
            "store": flow(store=f"{{ type: local, path: {text} }}"),
            "sqlite": flow(store=f"{{ type: sqlite, path: {json.dumps(path.rstrip('/') + '/shop.db')} }}"),
            "database's journal": flow(store=database),
        }.items()
    }


@pytest.mark.parametrize("path", [*BEYOND, *OWN])
def test_no_path_leads_beyond_the_project_or_to_its_own_files(tmp_path: Path, path: str) -> None:
    for name, files in places(path).items():
        # The top of the project holds databases, and the engine's own folders journals.
        free = {"sqlite": [".", "./"], "database's journal": ["wh/.hygge_journal", "wh/.hygge_lake/x"]}
        problems = problems_of(tmp_path / name, files)
        assert ["`path` leads" in problem.message for problem in problems] == [True] * (
            path not in free.get(name, [])
        ), name


@pytest.mark.parametrize("path", GOOD)
def test_folders_below_the_project_are_as_good_as_ever(tmp_path: Path, path: str) -> None:
    for name, files in places(path).items():
        assert problems_of(tmp_path / name, files) == [], name


@pytest.mark.parametrize("path", ["../victim", "/var/victim"])
def test_the_journal_stays_in_the_project_too(tmp_path: Path, path: str) -> None:
    journal = f"journal: {{ location: {path} }}\n"
    assert problems_of(tmp_path / "hygge", {"hygge": HYGGE + journal})
    assert problems_of(tmp_path / "flow", {"flows__orders_to_fabric__flow": FLOW + journal})
    assert (
        problems_of(tmp_path / "below", {"flows__orders_to_fabric__flow": FLOW + "journal: { location: ./journal }\n"})
        == []
    )
    assert problems_of(tmp_path / "here", {"flows__orders_to_fabric__flow": FLOW + "journal: { location: ./ }\n"}) == []


def test_hygge_yml_says_how_far_paths_lead(tmp_path: Path) -> None:
    in_azure = {**ENVIRONMENT, AZURE_INSTANCE: "3f2a"}
    for number, (option, environment, path, allowed) in enumerate(
        [
            ("anywhere", ENVIRONMENT, "../data", True),
            ("anywhere", ENVIRONMENT, "local.settings.json", False),
            ("anywhere", in_azure, "/mnt/share", True),
            ("project", in_azure, "data", True),
            ("project", in_azure, "../data", False),
            ("none", ENVIRONMENT, "data", False),
            ("", in_azure, "data", False),
            ("", ENVIRONMENT, "data", True),
        ]
    ):
        hygge = HYGGE + (f"options: {{ local_paths: {option} }}\n" if option else "")
        for name, files in places(path).items():
            found = problems_of(tmp_path / f"{number}{name}", {"hygge": hygge, **files}, environment)
            assert bool(found) is not allowed, (option, path, name)
            assert all(
                "local_paths" in problem.message + problem.hint or "own files" in problem.message for problem in found
            )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("store: { type: adls, account_url: https://a.dfs.core.windows.net, filesystem: f, credential: sas, sas_token: "
         '"sv=1&sig=${LAKE_ACCOUNT_KEY}" }\n', "`sas_token` is made of a variable and other text"),
        ("store: { type: adls, account_url: https://a.dfs.core.windows.net, filesystem: f, credential: sas, sas_token: "
         '"${SHOP_PASSWORD}" }\n', "`SHOP_PASSWORD` is the secret of `password`, and `sas_token` is another one"),
        ('store: { type: adls, account_url: https://a.dfs.core.windows.net, filesystem: f, credential: sas, sas_token: '
         '"${SAFE}" }\n', "`SAFE` holds the secret of `password`, and `sas_token` is another one"),
        ('polish: { hash_salt: "${SAFE}", mask: { id: hash } }\n', "`SAFE` holds the secret of `password`"),
        ('polish: { constants: { leak: "${SHOP_PASSWORD}" } }\n', "`constants`"),
        ('polish: { constants: { password: "${SHOP_PASSWORD}" } }\n', "not a key for secrets"),
        ('polish: { hash_salt: "${SHOP_PASSWORD}", mask: { id: hash } }\n', "`hash_salt` is another one"),
        ('polish: { constants: { leak: "${AzureWebJobsStorage}" } }\n', "`AzureWebJobsStorage` holds a secret"),
    ],
)  # fmt: skip
def test_a_flow_makes_nothing_of_a_secret(tmp_path: Path, made: str, message: str) -> None:
    text = FLOW.replace(STORE, "") + made if made.startswith("store") else FLOW + made
    environment = {
        **ENVIRONMENT,
        "LAKE_ACCOUNT_KEY": "aGFsbG8=",
        "SAFE": ENVIRONMENT["SHOP_PASSWORD"],
        "AzureWebJobsStorage": "AccountName=a;AccountKey=hello=",
    }
    found = problems_of(tmp_path, {"flows__orders_to_fabric__flow": text}, environment)
    assert any(
        message in problem.message or (message == "`constants`" and "leak" in problem.message) for problem in found
    ), found
    assert not [value for value in environment.values() if any(value in problem.render() for problem in found)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOURCE_URL", "Server=tcp:db.example.com;User Id=reader;Password=p4ssw0rd-XYZ;"),
        ("SOURCE_DSN", "Driver=x;UID=sa;PWD={p4ss}}word;XYZ};"),
        ("SOURCE", "mssql://reader:p4ssw0rd-XYZ@db.example.com/shop"),
        ("FILES", "https://a.blob.core.windows.net/c?sv=2024&sig=aB%2Fcd%3D"),
        ("HOOK", "https://shop.azurewebsites.net/api/loads?code=aBcDeFgHiJkL"),
        ("CALLER", "Bearer abcdefgh12345678"),
        ("CALL", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def"),
        ("SIGNER", "-----BEGIN PRIVATE KEY-----\nMIIEabcdefgh\n-----END PRIVATE KEY-----"),
        ("THING", "a" * 86 + "=="),
        ("OTHER_THING", "abc8Q~" + "d" * 34),
        *(
            (name, "harmless-text")
            for name in ("IDENTITY_HEADER", "OTEL_EXPORTER_OTLP_HEADERS", "PGPASS", "GITHUB_PAT")
        ),
        *(("LOGIN", value) for value in ("sa:pa55w0rd", "reader:hello-world-8")),
        *(("NOTE", begin + "a1" * 20) for begin in ("ghp_", "xoxb-", "sk-ant-", "glpat-", "github_pat_")),
        *((name, "harmless-text") for name in ("DBPASS", "DB_PASS", "SQLPASS")),
        *((name, "harmless-text") for name in ("WEBSITE_AUTH_SIGNING_KEY", "MACHINEKEY_DecryptionKey", "LAKE_KEY")),
    ],
)
def test_what_looks_like_a_secret_by_its_name_or_value_is_not_landed(tmp_path: Path, name: str, value: str) -> None:
    environment = {**ENVIRONMENT, name: value}
    for number, made in enumerate(
        [
            f'polish: {{ constants: {{ leak: "${{{name}}}" }} }}\n',
            f'polish: {{ constants: {{ leak: "a ${{NO_SUCH:-${{{name}}}}} b" }} }}\n',
            f'expectations: {{ accepted_values: {{ columns: {{ id: ["${{{name}}}"] }} }} }}\n',
        ]
    ):
        [problem] = problems_of(tmp_path / str(number), {"flows__orders_to_fabric__flow": FLOW + made}, environment)
        assert f"`{name}` holds a secret" in problem.message
        assert value not in problem.render()


def test_what_is_a_columns_name_or_an_address_is_landed_as_ever(tmp_path: Path) -> None:
    harmless = {
        "PRIMARY_KEY": "id",
        "SORT_KEY": "id",
        "REGION": "west",
        "SITE": "https://shop.example.com:8443/x?page=1",
    }
    for name in harmless:
        text = FLOW + f'polish: {{ constants: {{ tag: "${{{name}}}" }} }}\n'
        assert problems_of(tmp_path / name, {"flows__orders_to_fabric__flow": text}, {**ENVIRONMENT, **harmless}) == []


@pytest.mark.parametrize(
    "secret",
    [
        *("account_key: abc", "account_key: notbase64!!", "account_key: 'a b c='", "account_key: aGFsbG8"),
        *("sas_token: not a sas", "sas_token: sig=", "sas_token: sv=1", "sas_token: 'sv=1&sig='"),
        *('sas_token: "sv=1&sig=a\\r\\nb"', "sas_token: 'sv=1&sig=a b'"),
    ],
)
def test_a_credential_that_can_be_none_is_a_problem_of_its_place(tmp_path: Path, secret: str) -> None:
    lake = f"account_url: https://a.dfs.core.windows.net, filesystem: f, account_name: a, {secret}"
    credential = "sas" if "sas" in secret else "account_key"
    text = flow(store=f"{{ type: adls, {lake}, credential: {credential}, key_columns: [id] }}")
    found = problems_of(tmp_path, {"flows__orders_to_fabric__flow": text})
    key = secret.partition(":")[0]
    assert any(problem.line and f"`{key}` of store is not valid" in problem.message for problem in found)
