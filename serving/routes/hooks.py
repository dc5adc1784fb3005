"""``/v1/hooks/mlflow``: MLflow tells that an alias was set, and every replica looks at once.

MLflow signs what it sends: HMAC-SHA256 over ``id.time.body``, by the secret that its webhook was
made with (`GATECAST_HOOK_SECRET` here). One replica gets it and passes it on, as it came, to
`GATECAST_PEERS`; each checks the signature itself. What gets lost is found by polling, and what
comes a second time within the minutes that a signature holds moves nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import socket
import time
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from forecasting.masking import masked
from serving.errors import RequestError
from serving.reading.body import decode_json
from serving.routes.route import Call, Reply, Route, Service
from serving.running import logs
from serving.running.daemons import beside, started
from serving.running.deliveries import OLDEST_SECONDS

PATH: Final = "/v1/hooks/mlflow"
ID, TIME, SIGNATURE = "x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"
PASSED: Final = "x-gatecast-passed"  # by a replica, and not to be passed on again
LONGEST_BODY: Final = 64 * 1024
LIKE_SECONDS: Final = re.compile(r"[0-9]{1,12}")
PASS_SECONDS: Final = 2.0  # for a peer to answer
EVENT: Final = ("model_version_alias", "created")


def signature(secret: str, identity: str, stamp: str, body: bytes) -> str:
    """What MLflow signs a message with."""
    signed = f"{identity}.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


async def alias_created(call: Call) -> Reply:
    """Look at the alias now, here and in the other replicas; answered before it is done."""
    secret = call.service.settings.hook_secret
    if secret is None:
        raise RequestError(
            403,
            "no_hook_configured",
            "this takes MLflow's webhooks, and no secret is set: set GATECAST_HOOK_SECRET to the "
            "one that the webhook was made with",
        )
    # Who sends it is not known before all of it is here.
    body = await call.body(LONGEST_BODY)
    _check(call.headers, body, secret.get_secret_value())
    event = decode_json(body, call.service.settings.max_content)
    if not call.service.deliveries.first(call.headers[SIGNATURE]):
        # Sent again by a peer, by MLflow, or by somebody who overheard it.
        return Reply.json({"followed": [], "fetched": [], "passed": 0, "known": True})
    followed, fetched = _follow(call.service, event)
    passed = 0
    if followed + fetched and PASSED not in call.headers:
        passed = await _pass_on(call.service.settings.peers, call.headers, body)
    return Reply.json({"followed": followed, "fetched": fetched, "passed": passed})


def _check(headers: Mapping[str, str], body: bytes, secret: str) -> None:
    """`RequestError` unless MLflow signed these bytes, lately."""
    identity, stamp, sent_signature = (headers.get(name, "") for name in (ID, TIME, SIGNATURE))
    right = signature(secret, identity, stamp, body)
    if not hmac.compare_digest(right.encode(), sent_signature.encode()):
        raise RequestError(
            401,
            "wrong_hook_signature",
            f"the signature in {SIGNATURE} is not the one of this body: make the webhook with the "
            "secret in GATECAST_HOOK_SECRET",
        )
    seconds = int(stamp) if LIKE_SECONDS.fullmatch(stamp) else 0
    if abs(time.time() - seconds) > OLDEST_SECONDS:
        raise RequestError(
            401,
            "old_hook_signature",
            f"the message was signed over {OLDEST_SECONDS:.0f} seconds ago, or the clocks of this "
            "machine and MLflow's differ: set them right",
        )


def _follow(service: Service, told: Any) -> tuple[list[str], list[str]]:
    """Nudge the model whose alias was set; of another alias than the one served, fetch it ahead.

    A challenger is registered before it is promoted: its files are here by then.
    """
    if not isinstance(told, dict) or (told.get("entity"), told.get("action")) != EVENT:
        return [], []
    data = told.get("data")
    name, alias = (data.get("name"), data.get("alias")) if isinstance(data, dict) else (None, None)
    keeper = service.models.keepers.get(name) if isinstance(name, str) else None
    if keeper is None or not isinstance(alias, str):
        return [], []
    rival = service.models.rivals.get(keeper.name)
    if rival is not None and alias == service.settings.challenger:
        rival.nudge()
        return [], [keeper.name]
    if alias != service.settings.alias:
        started(partial(keeper.prefetch, alias), f"fetch {keeper.name}")
        return [], [keeper.name]
    keeper.nudge()
    return [keeper.name], []


async def _pass_on(peers: tuple[str, ...], headers: Mapping[str, str], body: bytes) -> int:
    """How many of the replicas were told; a name may stand for several."""
    signed = {name: headers[name] for name in (ID, TIME, SIGNATURE) if name in headers}
    sent = {**signed, "content-type": "application/json", PASSED: "1"}
    calls = [beside(partial(_tell, peer, sent, body), f"pass on to {peer}") for peer in peers]
    return sum(await asyncio.gather(*calls))


def _tell(peer: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send a message to every address of a peer's name; how many took it."""
    host, _, port = peer.rpartition(":")
    accepted = 0
    try:
        entries = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        addresses = sorted({str(entry[4][0]) for entry in entries})
    except (OSError, ValueError) as error:
        logs.warning("a peer is not known", peer=peer, reason=str(error))
        return 0
    for address in addresses:
        connection = HTTPConnection(address, int(port), timeout=PASS_SECONDS)
        try:
            connection.request("POST", PATH, body, {**headers, "host": peer})
            answer = connection.getresponse()
            if answer.status == 200:
                accepted += 1
            else:
                logs.warning("a peer refused a webhook", peer=peer, status=answer.status)
        except (OSError, HTTPException) as error:
            logs.warning("a peer cannot be told", peer=peer, reason=masked(str(error)))
        finally:
            connection.close()
    return accepted


def _document(service: Service) -> dict[str, Any]:
    schema = {"type": "string"}
    names = (ID, TIME, SIGNATURE)
    return {
        "parameters": [
            {"name": n, "in": "header", "required": True, "schema": schema} for n in names
        ],
        "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
    }


ROUTES = (
    Route(
        "POST",
        PATH,
        alias_created,
        summary="MLflow's webhook: an alias was set",
        document=_document,
        statuses=(401, 403),
        by_any_name=True,
    ),
)
