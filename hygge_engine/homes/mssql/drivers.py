"""The native libraries that a driver depends on: which file will be loaded, and what it lacks."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hygge_engine.checks import DoctorCheck

SYSTEM_DRIVER: Final = "ODBC Driver 18 for SQL Server"

# The libraries that Microsoft's ODBC driver 18 loads from a Linux system, with the Debian package that brings each.
_LIBRARIES: Final = {
    "libltdl.so.7": "libltdl7",
    "libkrb5.so.3": "libkrb5-3",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
}
# It is content with either.
_TLS_LIBRARIES: Final = {"libssl.so.3": "libssl3", "libssl.so.1.1": "libssl1.1"}
# pyodbc brings no driver manager of its own.
_MANAGER: Final = {"libodbc.so.2": "libodbc2"}

_MODULES: Final = {"mssql-python": "mssql_python", "pyodbc": "pyodbc"}


@cache
def packaged_driver() -> Path | None:
    """The driver's file in the mssql-python-odbc package, the one built for this Linux; None on other systems."""
    import mssql_python_odbc

    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    libraries = Path(mssql_python_odbc.get_libs_dir()) / "linux"
    return next(
        (
            file
            for distribution in _distributions()
            for file in sorted((libraries / distribution / machine / "lib").glob("libmsodbcsql-*.so*"))
        ),
        None,
    )


@cache
def loads_pyodbc() -> bool:
    """Whether pyodbc imports, and finds an ODBC driver."""
    try:
        import pyodbc
    except ImportError:
        return False
    return SYSTEM_DRIVER in pyodbc.drivers() or packaged_driver() is not None


def check_driver(driver: str) -> list[DoctorCheck]:
    """Whether the Python package imports, the system's libraries are there, and the ODBC driver loads."""
    checks: list[DoctorCheck] = []
    if sys.platform == "linux":
        checks.append(_check_libraries(driver))
    checks.append(_check_module(driver))
    return checks


def _check_libraries(driver: str) -> DoctorCheck:
    how = "load each library"
    wanted = _LIBRARIES | (_MANAGER if driver == "pyodbc" else {})
    missing = [name for name in wanted if not _loads(name)]
    packages = [wanted[name] for name in missing]
    if not any(_loads(name) for name in _TLS_LIBRARIES):
        missing.append("libssl")
        packages.append("libssl3")
    if missing:
        remedy = f"Install them: apt-get install {' '.join(packages)} (Debian, Ubuntu; their like elsewhere)."
        return DoctorCheck(f"libraries of {driver}", "failed", f"missing: {', '.join(missing)}", how, remedy, "home")
    return DoctorCheck(f"libraries of {driver}", "ok", f"{', '.join(wanted)} and libssl are there", how)


def _check_module(driver: str) -> DoctorCheck:
    how = f"import {_MODULES[driver]}, then load the ODBC driver"
    try:
        import_module(_MODULES[driver])
        found = f"{driver} {version(driver)}"
        file = None if _uses_system_driver(driver) else packaged_driver()
        if file is not None:
            ctypes.CDLL(str(file))
    except (ImportError, OSError, PackageNotFoundError) as error:
        other = "pyodbc" if driver == "mssql-python" else "mssql-python"
        remedy = f"Install what is missing, or set driver: {other} on the connection."
        return DoctorCheck(driver, "failed", f"it does not load: {error}", how, remedy, "home")
    return DoctorCheck(driver, "ok", f"{found} with {SYSTEM_DRIVER if file is None else file.name}", how)


def _uses_system_driver(driver: str) -> bool:
    """pyodbc prefers the driver that the system has registered; mssql-python always takes its own."""
    if driver != "pyodbc":
        return False
    import pyodbc

    return SYSTEM_DRIVER in pyodbc.drivers()


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _distributions() -> list[str]:
    """The package's folders, the one built for this Linux first."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    like = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}"
    folders = {"debian": "debian_ubuntu", "rhel": "rhel", "fedora": "rhel", "suse": "suse", "alpine": "alpine"}
    own = [folder for name, folder in folders.items() if name in like]
    return list(dict.fromkeys([*own, "debian_ubuntu", "rhel"]))
