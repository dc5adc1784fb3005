"""The catalogue of bad requests: each with its status, its code and its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.rows import Measure
from tests.serving import test_bad_input as catalogue
from tests.serving.conftest import Caller


def cases(test: Any) -> list[Any]:
    """What a test of the service's own is given, case by case."""
    (mark,) = [m for m in test.pytestmark if m.name == "parametrize"]
    return list(mark.args[1])


@pytest.mark.fault("requests")
def test_every_bad_request_has_its_status_code_and_place(call: Caller, measure: Measure) -> None:
    wrong = []
    values = cases(catalogue.test_a_wrong_value_has_its_place)
    for body, where, code in values:
        answer = call.post(body)
        found = [(e["place"], e["code"]) for e in answer.json().get("errors", [])]
        if answer.status_code != 422 or (where, code) not in found:
            wrong.append((where, code, answer.status_code, found))
    bodies = cases(catalogue.test_a_wrong_body_has_its_status)
    for content, headers, status, code in bodies:
        answer = call("POST", "/v1/forecast", content=content, headers=headers)
        if (answer.status_code, answer.json()["code"]) != (status, code):
            wrong.append((content[:40], status, code, answer.status_code))
    addresses = cases(catalogue.test_a_wrong_address_has_its_status)
    for method, path, status, code in addresses:
        answer = call(method, path)
        if (answer.status_code, answer.json()["code"]) != (status, code):
            wrong.append((path, status, code, answer.status_code))
    count = len(values) + len(bodies) + len(addresses)
    assert wrong == []
    assert count >= 60
    measure.says(
        f"{count} requests: {len(values)} values by place, {len(bodies)} bodies, "
        f"{len(addresses)} addresses",
        requests=count,
    )
