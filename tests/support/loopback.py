"""Requests to the servers of the tests, each on a connection of its own: a server may have died since the last one.

`httpx.request` reads the system's certificates for each request, which takes longer than most of these requests do.
"""

from __future__ import annotations

import ssl

import httpx

CERTIFICATES = ssl.create_default_context()

_client = httpx.Client(verify=CERTIFICATES, limits=httpx.Limits(max_keepalive_connections=0))

request = _client.request
get = _client.get
head = _client.head
post = _client.post
