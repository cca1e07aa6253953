"""A provider for Terraform that has a schema and nothing behind it: plans are made, and nothing can be applied."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack

from tests.infra.schemas import Attribute, Block, Provider

_messages, _services = grpc.protos_and_services("tests/infra/provider.proto")

# How Terraform writes a value that will be known once the resource is there.
UNKNOWN = msgpack.ExtType(0, b"\0")

_SINGLE, _LIST = 1, 2

Answers = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def nothing_is_known(type_: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Azure has returned before a deployment."""
    return {}


@contextmanager
def serve(providers: Mapping[str, Provider], folder: Path, answers: Answers = nothing_is_known) -> Iterator[str]:
    """Serve providers by their addresses, and give what Terraform wants in ``TF_REATTACH_PROVIDERS``.

    ``answers`` gives the values that Azure sets, by name, for a resource or data source of a type with its arguments;
    what it leaves out is not known before the deployment. ``folder`` takes the sockets, so its path must be short.
    """
    servers, addresses = [], {}
    for number, (name, provider) in enumerate(providers.items()):
        server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
        _services.add_ProviderServicer_to_server(_Servicer(provider, answers), server)
        socket = folder / f"provider-{number}"
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        servers.append(server)
        addresses[name] = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "unix", "String": str(socket)},
        }
    try:
        yield json.dumps(addresses)
    finally:
        for server in servers:
            server.stop(None).wait()


class _Servicer:
    """The methods of the service in provider.proto."""

    def __init__(self, provider: Provider, answers: Answers) -> None:
        self._provider = provider
        self._answers = answers

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return _messages.Schemas(
            provider=_schema(self._provider.configuration),
            resources={name: _schema(block) for name, block in self._provider.resources.items()},
            data_sources={name: _schema(block) for name, block in self._provider.data_sources.items()},
        )

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        block = self._provider.resources[request.type_name]
        values = msgpack.unpackb(request.proposed.msgpack)
        return _messages.Plan(planned=self._complete(request.type_name, block, values, UNKNOWN))

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        block = self._provider.data_sources[request.type_name]
        values = msgpack.unpackb(request.config.msgpack)
        return _messages.Read(state=self._complete(request.type_name, block, values, None))

    def _complete(self, type_: str, block: Block, values: Any, otherwise: Any) -> Any:
        """A value with what Azure sets."""
        if values is None:
            return _messages.Value(msgpack=msgpack.packb(None))
        answered = self._answers(type_, {each.name: _untyped(each, values[each.name]) for each in block.attributes})
        for attribute in block.attributes:
            if values[attribute.name] is not None or not attribute.computed:
                continue
            if attribute.name in answered:
                values[attribute.name] = _typed(attribute, answered[attribute.name])
            elif attribute.name == "id" or not attribute.optional:
                values[attribute.name] = otherwise
        return _messages.Value(msgpack=msgpack.packb(values))

    def _agree(self, request: Any, context: Any) -> Any:
        return _messages.Nothing()

    ValidateProviderConfig = ConfigureProvider = StopProvider = _agree
    ValidateResourceConfig = ValidateDataResourceConfig = _agree


def _untyped(attribute: Attribute, value: Any) -> Any:
    """A value as it was written: one of a type that is not fixed comes with its type beside it."""
    return value[1] if attribute.type == "dynamic" and isinstance(value, list) else value


def _typed(attribute: Attribute, value: Any) -> Any:
    """A value as it is sent: one of a type that is not fixed has its type beside it."""
    return [json.dumps(_type_of(value)).encode(), value] if attribute.type == "dynamic" else value


def _type_of(value: Any) -> Any:
    return ["object", {name: _type_of(item) for name, item in value.items()}] if isinstance(value, dict) else "string"


def _schema(block: Block) -> Any:
    return _messages.Schema(block=_block(block))


def _block(block: Block) -> Any:
    return _messages.Block(
        attributes=[_attribute(each) for each in block.attributes],
        block_types=[
            _messages.NestedBlock(
                type_name=each.name,
                block=_block(each.block),
                # There are never two of `timeouts`, and what is read of it is no list.
                nesting=_SINGLE if each.name == "timeouts" else _LIST,
                min_items=int(each.required),
                max_items=0 if each.many or each.name == "timeouts" else 1,
            )
            for each in block.blocks
        ],
    )


def _attribute(attribute: Attribute) -> Any:
    flags = {"required": attribute.required, "optional": attribute.optional, "computed": attribute.computed}
    if attribute.nested is None:
        return _messages.Attribute(name=attribute.name, type=json.dumps(attribute.type).encode(), **flags)
    inner = _messages.Object(attributes=[_attribute(each) for each in attribute.nested.attributes], nesting=_SINGLE)
    return _messages.Attribute(name=attribute.name, nested_type=inner, **flags)
