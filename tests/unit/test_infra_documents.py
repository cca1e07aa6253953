"""The pages of the deployment name what exists: files, variables, outputs, alerts; and their sums are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.az_commands import shell_commands
from tests.unit.infra_bicep import Template, read_parameters
from tests.unit.infra_scenarios import INFRA, REQUIRED

ROOT = INFRA.parent
PAGES = [
    *sorted((ROOT / "docs" / "deploy").glob("*.md")),
    ROOT / "docs" / "operations.md",
    ROOT / "docs" / "threat-model.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_lead_somewhere(page: Path) -> None:
    text = page.read_text()

    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
        assert (page.parent / target).exists(), target
    for named in re.findall(r"(?<![\w/])((?:infra|azure-pipelines|\.github|benchmarks)/[\w./-]+\.\w+)", text):
        # What the page tells the reader to write.
        if named not in ("infra/terraform/shop.tfvars", "infra/terraform/backend.tf"):
            assert (ROOT / named).exists(), named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text()):
        headings = re.findall(r"^#+ (.+)$", ((page.parent / target) if target else page).read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in anchors, f"{target}#{anchor}"


def test_the_outputs_that_pages_and_scripts_use_exist() -> None:
    outputs = Template(INFRA / "bicep" / "main.bicep", REQUIRED).outputs.keys()
    texts = [page.read_text() for page in PAGES] + [
        path.read_text() for path in (INFRA / "scripts").iterdir() if path.is_file()
    ]
    used = {name for text in texts for name in re.findall(r"(?:output|get-value) ([A-Z_]+)", text)}
    used |= {name for text in texts for name in re.findall(r"HYGGE_IDENTITY_\w+", text)}

    assert used <= outputs | {"NAME"}
    assert {"AZURE_FUNCTION_APP_NAME", "HYGGE_IDENTITY_PRINCIPAL_ID"} <= used


def test_the_choices_of_azd_are_read_by_the_parameter_file() -> None:
    page = (ROOT / "docs/deploy/azd.md").read_text()
    choices = re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)
    read = (INFRA / "bicep/main.bicepparam").read_text()

    assert len(choices) > 5
    for name in choices:
        assert f"readEnvironmentVariable('{name}'" in read, name
    for name in re.findall(r"azd env set ([A-Z_]+) \S", page):
        assert f"'{name}'" in read or name in ("MIRROR_NAME", "NAME"), name


def test_parameters_that_pages_name_exist() -> None:
    known = {*read_parameters(INFRA / "bicep" / "main.bicep"), "telemetryMode"}
    # `name` or `name: value`, written as Bicep and host.json write names.
    named = {name for page in PAGES for name in re.findall(r"`([a-z]+[A-Z]\w*)(?:: [^`]*)?`", page.read_text())}

    assert {"privateNetwork", "dataAllowList", "auditLogs"} < named
    assert named <= known


def test_every_alert_and_query_file_is_documented() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    rules = re.findall(r"name: '([a-z-]+)'\n    description", (INFRA / "bicep/modules/alerts.bicep").read_text())

    assert len(rules) == 3
    assert all(f"| {rule} |" in page for rule in rules)
    assert all(path.name in page for path in (INFRA / "monitoring").glob("*.kql"))


def test_no_query_takes_an_empty_id_for_an_id() -> None:
    """An id that is missing equals every other that is missing: a query by such ids shows everybody's lines."""
    queries = [query for page in PAGES for query in re.findall(r"```kusto\n(.+?)```", page.read_text(), re.DOTALL)] + [
        path.read_text() for path in (INFRA / "monitoring").glob("*.kql")
    ]

    assert len(queries) > 5
    for query in queries:
        for looked_up in re.findall(r"(\w*Id) in \(", query):
            assert f"isnotempty({looked_up})" in query


def test_the_sums_of_the_cost_page_are_right() -> None:
    text = (ROOT / "docs/deploy/cost.md").read_text().replace(",", "").replace("\N{MULTIPLICATION SIGN}", "*")
    # `2880 * 60 s * 2 GB + 8640 * 1 s * 2 GB = 362880 GB-s`, units left out.
    sums = re.findall(r"((?:\d+(?: (?:s|GB))? [*+] )+\d+(?: (?:s|GB))?) = (\d+)", text)

    assert len(sums) >= 4
    for formula, result in sums:
        terms = [term.split(" * ") for term in re.sub(r" (s|GB)\b", "", formula).split(" + ")]
        total = 0
        for factors in terms:
            product = 1
            for factor in factors:
                product *= int(factor)
            total += product
        assert total == int(result), formula
    hours = (362_880 - 100_000) * 0.000026
    assert f"${hours:.2f}" in text
    assert f"${4.7 * 2.3:.2f}" in text
    assert f"${2.0 * 2.3:.2f}" in text
    assert f"${4.0 * 2.3:.2f}" in text
    assert f"${(0.045 + 0.005 + 4 * 0.01) * 730 + 4 * 0.5:.2f}" in text
    assert f"${0.01 * 730 + 4 * 0.5:.2f}" in text
    assert f"${2 * 2_592_000 * 0.000004:.2f}" in text
    assert f"${(584_640 - 250_000) * 0.4 / 1e6:.2f}" in text
    assert f"${34.9 * 2880 / 3600 * 0.18:.2f}" in text
    assert f"${188.9 * 2880 / 3600 * 0.18:.2f}" in text


@pytest.mark.parametrize(
    "page",
    ["install.md", "first-load.md", "deploy/az.md", "deploy/azd.md", "deploy/terraform.md", "deploy/entra.md"],
)
def test_a_page_that_has_lines_for_sh_has_some_for_powershell(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    blocks = "\n".join(re.findall(r"```powershell\n(.+?)```", text, re.DOTALL))

    assert blocks, page
    # What is sh and means something else in PowerShell, or nothing.
    assert not re.search(r"\\\n|\bexport \w+=|^\w+=\S|\$\(|<<", blocks, re.MULTILINE), page


@pytest.mark.parametrize("page", sorted((ROOT / "docs/deploy").glob("*.md")), ids=lambda page: page.name)
def test_a_page_that_only_sh_can_read_says_so(page: Path) -> None:
    text = page.read_text()
    blocks = "\n".join(re.findall(r"^ *```(?:sh)?\n(.+?)^ *```", text, re.MULTILINE | re.DOTALL))
    if re.search(r"\$[A-Za-z({]|^ *export |\bsed ", blocks, re.MULTILINE) and "```powershell" not in text:
        assert "for sh" in text
        assert "WSL" in text


def unknown_options(words: list[str]) -> list[str]:
    """What a command says to one of the project's own scripts that the script does not know."""
    place = next((place for place, word in enumerate(words) if re.search(r"(^|/)infra/scripts/\w+\.\w+$", word)), None)
    if place is None:
        return []
    script = (ROOT / words[place][words[place].index("infra/") :]).read_text()
    options = [word.partition("=")[0] for word in words[place:] if word.startswith("--")]
    commands = [word for word in words[place + 1 : place + 2] if re.fullmatch(r"[a-z]+-[a-z]+", word)]
    return [word for word in [*options, *commands] if not re.search(rf"(?<![\w-]){word}(?![\w-])", script)]


def test_the_options_of_the_projects_own_scripts_exist() -> None:
    found = []
    for page in PAGES:
        for _, block in re.findall(r"^( *)```(?:sh|powershell)?\n(.*?)^\1```", page.read_text(), re.M | re.S):
            found += [(page.name, words) for words in shell_commands(block) if "infra/scripts/" in " ".join(words)]

    assert {name for name, _ in found} >= {"az.md", "terraform.md"}
    assert [(name, unknown_options(words)) for name, words in found if unknown_options(words)] == []


@pytest.mark.parametrize(
    "command",
    [
        "python3 infra/scripts/package.py --with-dependency package.zip",
        "python infra/scripts/fabric.py grant-roles --workspace-id X",
        "python3 infra/scripts/sql_user.py --schemas dbo",
        "infra/scripts/deploy.sh --whatif",
    ],
)
def test_an_option_that_a_script_does_not_have_is_found(command: str) -> None:
    (words,) = shell_commands(command)

    assert len(unknown_options(words)) == 1
