"""The assumptions about storage: each tried with a few requests in a folder of the probe's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from hygge_engine.errors import HyggeError
from hygge_engine.lake.probe import CLOCK_TOLERANCE_SECONDS
from hygge_engine.lake.responses import moment_of
from hygge_engine.lake.upload import CHUNK_BYTES
from hygge_engine.probe.assumptions import STORAGE, Finding, Holds
from hygge_engine.probe.wire import ServiceResponse, Spent, Wire

# What tables, flows and journals may be called, besides plain words.
NAMES = (".dot", "two words", "50%", "a+b", "größe", "日付")


def try_storage(wire: Wire, folder: str) -> Iterator[Finding]:
    """One finding for each assumption, in order; what could not be tried is unknown, with the reason."""
    for assumption in STORAGE:
        try:
            holds, seen = _TRIALS[assumption.id](wire, f"{folder}/{assumption.id}")
        except HyggeError as error:
            yield Finding(assumption.id, "unknown", error.message)
        except Spent as spent:
            yield Finding(assumption.id, "unknown", str(spent))
        else:
            yield Finding(assumption.id, holds, seen)


type _Seen = tuple[Holds, str]


def _verdict(holds: bool, seen: str) -> _Seen:
    return "yes" if holds else "no", seen


def _put_whole(wire: Wire, base: str) -> _Seen:
    response = wire.put_blob(base, b"whole")
    if not response.done:
        return "no", str(response)
    found = wire.read(base)
    return _verdict(found.data == b"whole", f"{response}, then {len(found.data)} of 5 bytes")


def _put_if_absent(wire: Wire, base: str) -> _Seen:
    wire.stage(base, b"first")
    return _kept(wire, base, wire.put_blob(base, b"second", if_absent=True))


def _put_if_match(wire: Wire, base: str) -> _Seen:
    first = wire.put_blob(base, b"1")
    if not first.done:
        return "unknown", f"there is no Put Blob: {first}"
    second = wire.put_blob(base, b"2", if_match=first.etag)
    old = wire.put_blob(base, b"3", if_match=first.etag)
    holds = second.done and second.etag != first.etag and old.refused and wire.read(base).data == b"2"
    return _verdict(holds, f"the current etag: {second}; an old one: {old}")


def _kept(wire: Wire, path: str, response: ServiceResponse, before: bytes = b"first") -> _Seen:
    """Whether a request was refused that would have replaced a file."""
    kept = wire.read(path).data == before
    return _verdict(response.refused and kept, f"{response}, the file is {'as it was' if kept else 'another one'}")


def _etags_agree(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    wire.stage(f"{base}/file", b"x")
    written = wire.head(f"{base}/file").etag
    responses = {"HEAD": written, "GET": wire.read(f"{base}/file").etag}
    responses["listing"] = next((entry.etag for entry in wire.list(base) or []), "")
    put = wire.put_blob(f"{base}/put", b"x")
    if put.done:
        responses |= {"Put Blob": put.etag, "HEAD after it": wire.head(f"{base}/put").etag}
    file = {responses["HEAD"], responses["GET"], responses["listing"]}
    blob = {responses.get("Put Blob"), responses.get("HEAD after it")}
    holds = len(file) == len(blob) == 1 and all(responses.values())
    return _verdict(holds, ", ".join(f"{how} {etag or 'none'}" for how, etag in responses.items()))


def _create_if_absent(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    wire.stage(f"{base}/file", b"first")
    file = wire.create(f"{base}/file", if_absent=True)
    folder = wire.make_directory(base)
    holds, seen = _kept(wire, f"{base}/file", file)
    inside = [entry.name for entry in wire.list(base) or []] == ["file"]
    return _verdict(holds == "yes" and folder.refused and inside, f"file: {seen}; folder: {folder}")


def _create_truncates(wire: Wire, base: str) -> _Seen:
    wire.stage(base, b"first")
    response = wire.create(base)
    length = len(wire.read(base).data)
    return _verdict(response.done and not length, f"{response}, then {length} bytes")


def _unflushed(wire: Wire, base: str) -> _Seen:
    wire.create(base)
    appended = wire.append(base, b"later", 0)
    before = len(wire.read(base).data)
    flushed = wire.flush(base, 5)
    after = len(wire.read(base).data)
    seen = f"{before} bytes after the append ({appended}), {after} after the flush ({flushed})"
    return _verdict((before, after) == (0, 5), seen)


def _chunks(wire: Wire, base: str) -> _Seen:
    wire.create(base)
    responses = [wire.append(base, bytes(CHUNK_BYTES), 0), wire.append(base, b"end", CHUNK_BYTES)]
    responses.append(wire.flush(base, CHUNK_BYTES + 3))
    end = wire.read(base, offset=CHUNK_BYTES, length=3) if all(response.done for response in responses) else None
    holds = end is not None and end.data == b"end"
    return _verdict(holds, f"append {responses[0]}, append {responses[1]}, flush {responses[2]}")


def _rename_moves(wire: Wire, base: str) -> _Seen:
    wire.stage(f"{base}-staged", b"moved")
    response = wire.rename(f"{base}-staged", base, if_absent=True)
    gone, there = wire.head(f"{base}-staged"), wire.read(base)
    return _verdict(
        gone.status == 404 and there.data == b"moved",
        f"{response}; old path: {gone}; new path: {len(there.data)} bytes",
    )


def _rename_if_absent(wire: Wire, base: str) -> _Seen:
    wire.stage(base, b"first")
    wire.stage(f"{base}-staged", b"second")
    response = wire.rename(f"{base}-staged", base, if_absent=True)
    holds, seen = _kept(wire, base, response)
    staged = wire.head(f"{base}-staged").done
    return _verdict(holds == "yes" and staged, seen if staged else f"{seen}; the source is gone")


def _rename_if_match(wire: Wire, base: str) -> _Seen:
    wire.stage(base, b"1")
    old = wire.head(base).etag
    wire.stage(f"{base}-second", b"2")
    current = wire.rename(f"{base}-second", base, if_match=old)
    wire.stage(f"{base}-third", b"3")
    # Of a lake that lets a file keep its etag when it is renamed, the second one's is not the first one's all the same.
    refused = wire.rename(f"{base}-third", base, if_match=old)
    holds = current.done and refused.refused and wire.read(base).data == b"2"
    return _verdict(holds, f"the current etag: {current}; an old one: {refused}")


def _rename_lost(wire: Wire, base: str) -> _Seen:
    wire.stage(f"{base}-staged", b"first")
    wire.rename(f"{base}-staged", base, if_absent=True)
    again = wire.rename(f"{base}-staged", base, if_absent=True)
    kept = wire.read(base).data == b"first"
    holds = again.status in (404, 409, 412) and kept
    return _verdict(holds, f"{again}, the file is {'as it was' if kept else 'another one'}")


def _rename_no_parent(wire: Wire, base: str) -> _Seen:
    wire.stage(f"{base}-staged", b"x")
    response = wire.rename(f"{base}-staged", f"{base}-none/file", if_absent=True)
    made = wire.list(f"{base}-none") is not None
    return _verdict(
        response.status == 404 and not made, f"{response}, the folder {'was made' if made else 'was not made'}"
    )


def _folder_etag(wire: Wire, path: str) -> str:
    """As the engine asks for it: by HEAD, else from the listing of the folder above."""
    found = wire.head(path)
    if found.done:
        return found.etag
    above = wire.list(path.rpartition("/")[0]) or []
    return next((entry.etag for entry in above if entry.path == path), "")


def _folder_etag_steady(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    before = _folder_etag(wire, base)
    wire.stage(f"{base}-staged", b"x")
    wire.rename(f"{base}-staged", f"{base}/one", if_absent=True)
    wire.stage(f"{base}/two", b"x")
    wire.delete(f"{base}/one")
    after = _folder_etag(wire, base)
    return _verdict(before == after != "", f"{before or 'none'} before, {after or 'none'} after")


def _folder_etag_new(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    before = _folder_etag(wire, base)
    wire.delete_directory(base)
    wire.make_directory(base)
    after = _folder_etag(wire, base)
    return _verdict("" != before != after != "", f"{before or 'none'} before, {after or 'none'} after")


def _folder_delete_if_match(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    wire.stage(f"{base}/file", b"x")
    wire.make_directory(f"{base}-other")
    other = _folder_etag(wire, f"{base}-other")
    wrong = wire.delete_directory(base, if_match=other)
    kept = wire.list(base) is not None
    right = wire.delete_directory(base, if_match=_folder_etag(wire, base))
    gone = wire.list(base) is None and wire.read(f"{base}/file").status == 404
    return _verdict(
        wrong.refused and kept and right.done and gone,
        f"another folder's etag: {wrong}; its own: {right}, {'gone' if gone else 'still there'}",
    )


def _folder_head(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    found = wire.head(base)
    kind = (
        found.header("x-ms-resource-type") or f"hdi_isfolder {found.header('x-ms-meta-hdi_isfolder') or 'not reported'}"
    )
    is_folder = kind in ("directory", "hdi_isfolder true")
    return _verdict(found.done and is_folder, f"{found}, {kind}" if found.done else str(found))


def _ranges(wire: Wire, base: str) -> _Seen:
    wire.stage(base, b"0123456789")
    etag = wire.head(base).etag
    part = wire.read(base, offset=3, length=4, if_match=etag)
    wire.stage(base, b"another one")
    old = wire.read(base, offset=3, length=4, if_match=etag)
    return _verdict(part.data == b"3456" and old.status == 412, f"{part}, an old etag: {old}")


def _listing(wire: Wire, base: str) -> _Seen:
    wire.make_directory(base)
    wire.stage(f"{base}/a", b"1")
    wire.stage(f"{base}/b", b"22")
    wire.rename(f"{base}/b", f"{base}/c", if_absent=True)
    wire.stage(f"{base}/d", b"4444")
    wire.delete(f"{base}/a")
    wire.make_directory(f"{base}/e")
    found = [(entry.name, entry.length, entry.is_directory) for entry in wire.list(base) or []]
    expected = [("c", 2, False), ("d", 4, False), ("e", 0, True)]
    return _verdict(found == expected, ", ".join(f"{name} {length}" for name, length, _ in found) or "nothing")


def _names(wire: Wire, base: str) -> _Seen:
    lost = []
    for name in NAMES:
        path = f"{base}/{name}/{name}"
        wire.stage(f"{path}-staged", name.encode())
        wire.rename(f"{path}-staged", path, if_absent=True)
        listed = [entry.path for entry in wire.list(f"{base}/{name}") or []]
        if wire.read(path).data != name.encode() or listed != [path]:
            lost.append(name)
    return _verdict(not lost, f"not found again: {', '.join(lost)}" if lost else "all found again")


def _missing(wire: Wire, base: str) -> _Seen:
    responses = {
        "read": wire.read(base),
        "HEAD": wire.head(base),
        "delete": wire.delete(base),
        "delete of a folder": wire.delete_directory(base),
    }
    listed = wire.list(base)
    holds = all(response.status == 404 for response in responses.values()) and not listed
    return _verdict(holds, ", ".join(f"{verb} {response}" for verb, response in responses.items()))


def _clock(wire: Wire, base: str) -> _Seen:
    there = moment_of(wire.head(base).header("Date"))
    if there is None:
        return "no", "no response has a Date header"
    seconds = (there - datetime.now(UTC)).total_seconds()
    return _verdict(abs(seconds) <= CLOCK_TOLERANCE_SECONDS, f"{seconds:+.0f} s")


_TRIALS: dict[str, Callable[[Wire, str], _Seen]] = {
    "put_whole": _put_whole,
    "put_if_absent": _put_if_absent,
    "put_if_match": _put_if_match,
    "etags_agree": _etags_agree,
    "create_if_absent": _create_if_absent,
    "create_truncates": _create_truncates,
    "unflushed": _unflushed,
    "chunks": _chunks,
    "rename_moves": _rename_moves,
    "rename_if_absent": _rename_if_absent,
    "rename_if_match": _rename_if_match,
    "rename_lost": _rename_lost,
    "rename_no_parent": _rename_no_parent,
    "folder_etag_steady": _folder_etag_steady,
    "folder_etag_new": _folder_etag_new,
    "folder_delete_if_match": _folder_delete_if_match,
    "folder_head": _folder_head,
    "ranges": _ranges,
    "listing": _listing,
    "names": _names,
    "missing": _missing,
    "clock": _clock,
}
