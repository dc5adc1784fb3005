"""Make what the parts of a shared set-up need of each other: ``python setup.py``, at any time.

The bucket for artifacts; MLflow's account for the service, which may read; and MLflow's webhook
that tells the replicas of a promotion. What is there stays. Settings: the variables named below.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds for a server to answer


def bucket(name: str) -> str:
    """The bucket, made where it is missing."""
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=name)
        return f"bucket {name}: made"
    return f"bucket {name}: there"


def reader(name: str, password: str) -> str:
    """MLflow's account for the service; its password is set to what the secret says now."""
    from mlflow.exceptions import MlflowException
    from mlflow.server import get_app_client

    client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    try:
        client.get_user(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_user(name, password)
        return f"account {name}: made"
    client.update_user_password(name, password)
    return f"account {name}: there"


def webhook(url: str, secret: str) -> str:
    """The webhook that tells of every alias that is set, with the address and secret of now."""
    from mlflow.tracking import MlflowClient

    client, name = MlflowClient(), "gatecast"
    for one in client.list_webhooks():
        if one.name == name:
            client.update_webhook(one.webhook_id, url=url, secret=secret)
            return f"webhook to {url}: there"
    client.create_webhook(name, url, ["model_version_alias.created"], secret=secret)
    return f"webhook to {url}: made"


def patiently(work: Callable[[], str]) -> None:
    """Do something once its server answers."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            print(work(), flush=True)
            return
        except Exception as error:  # each client has errors of its own for a server that is away
            if time.monotonic() > end:
                raise SystemExit(f"setup: {type(error).__name__}: {error}") from None
            time.sleep(2)


def main() -> None:
    """All three, in turn."""
    environment = os.environ
    patiently(lambda: bucket(environment["BUCKET"]))
    patiently(lambda: reader(environment["READER"], environment["READER_PASSWORD"]))
    if environment.get("HOOK_URL"):
        patiently(lambda: webhook(environment["HOOK_URL"], environment["HOOK_SECRET"]))


if __name__ == "__main__":
    main()
