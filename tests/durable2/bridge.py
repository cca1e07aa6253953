"""A Function app on azure-functions-durable 2.x: its functions in Microsoft's worker library, its orchestrations on the
in-memory backend of Microsoft's durabletask.

The Functions host's part is what this plays: it takes work items from the backend, passes each to its function as the
trigger's value, and hands the result back.
"""

import asyncio
import base64
import logging
import os
import threading
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import Any, Self

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
from durabletask.client import OrchestrationState, TaskHubGrpcClient
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend
from google.protobuf.wrappers_pb2 import StringValue

from devcloud.functions import runtime
from devcloud.functions.worker_protocol import Function, Input

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 30
# The backend's own ten threads are all taken by a dozen concurrent waits.
SERVER_THREADS = 64
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class _Backend(InMemoryOrchestrationBackend):  # type: ignore[misc] # durabletask is not in the environment of mypy
    """The backend on a free port of loopback, with threads and messages enough for a real load."""

    def start(self) -> str:
        self._server = grpc.server(futures.ThreadPoolExecutor(SERVER_THREADS), options=UNLIMITED)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return f"127.0.0.1:{port}"


class Bridge:
    """One Function app on one backend; a context manager. ``client`` starts and asks after orchestrations."""

    def __init__(self, app_directory: Path, settings: Mapping[str, str]) -> None:
        self._app_directory = app_directory
        self._settings = settings
        self._functions: dict[str, Function] = {}
        self._loop = asyncio.new_event_loop()
        self._backend = _Backend()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        os.environ.update(self._settings)
        self.address = address = self._backend.start()
        self._channel = grpc.insecure_channel(address, UNLIMITED)
        self._stub = stubs.TaskHubSidecarServiceStub(self._channel)
        self.client = TaskHubGrpcClient(host_address=address)
        self._runner = threading.Thread(target=self._loop.run_forever)
        self._runner.start()
        loading = asyncio.run_coroutine_threadsafe(runtime.load_app(self._app_directory), self._loop)
        self._functions = {function.name: function for function in loading.result(DEADLINE_SECONDS)}
        self._items = self._stub.GetWorkItems(pb.GetWorkItemsRequest())
        self._reader = threading.Thread(target=self._read_items)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._items.cancel()
        self._reader.join()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._runner.join()
        self._loop.close()
        self.client.close()
        self._channel.close()
        self._backend.stop()
        for name in self._settings:
            os.environ.pop(name, None)

    def run(self, orchestrator: str, value: Any = None) -> OrchestrationState:
        """Run an orchestration to its end."""
        return self.finish(self.client.schedule_new_orchestration(orchestrator, input=value))

    def finish(self, instance_id: str) -> OrchestrationState:
        """Wait until an orchestration is over."""
        state = self.client.wait_for_orchestration_completion(instance_id, timeout=DEADLINE_SECONDS)
        assert state is not None
        return state

    def _read_items(self) -> None:
        try:
            for item in self._items:
                self._loop.call_soon_threadsafe(self._start, item)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise

    def _start(self, item: pb.WorkItem) -> None:
        task = self._loop.create_task(
            self._orchestrate(item) if item.HasField("orchestratorRequest") else self._act(item)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _orchestrate(self, item: pb.WorkItem) -> None:
        request = item.orchestratorRequest
        events = [*request.pastEvents, *request.newEvents]
        name = [event.executionStarted.name for event in events if event.HasField("executionStarted")][-1]
        value = base64.b64encode(request.SerializeToString()).decode()
        function = self._functions[name]
        outcome = await runtime.invoke(function.function_id, [Input(function.trigger["name"], "string", value)])
        if not outcome.succeeded:
            log.error("orchestrator '%s' could not be run\n%s", name, outcome.traceback)
            return
        response = pb.OrchestratorResponse()
        response.ParseFromString(base64.b64decode(str(outcome.value)))
        response.completionToken = item.completionToken
        await asyncio.to_thread(self._stub.CompleteOrchestratorTask, response)

    async def _act(self, item: pb.WorkItem) -> None:
        request = item.activityRequest
        function = self._functions[request.name]
        inputs = [Input(function.trigger["name"], "json", request.input.value)]
        outcome = await runtime.invoke(function.function_id, inputs)
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
        )
        if outcome.succeeded:
            response.result.CopyFrom(StringValue(value=str(outcome.value)))
        else:
            kind = outcome.error.partition(":")[0]
            details = pb.TaskFailureDetails(errorType=kind, errorMessage=outcome.error)
            response.failureDetails.CopyFrom(details)
        await asyncio.to_thread(self._stub.CompleteActivityTask, response)
