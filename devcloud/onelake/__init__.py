"""OneLake and ADLS Gen2 for one laptop: the DFS and Blob REST requests that the Azure storage SDKs send, on one
loopback port.
"""

from devcloud.onelake.behaviour import Behaviour
from devcloud.onelake.faults import Fault
from devcloud.onelake.operations import Operation
from devcloud.onelake.server import DropConnection, OneLake
from devcloud.onelake.tree import Node

__all__ = ["Behaviour", "DropConnection", "Fault", "Node", "OneLake", "Operation"]
