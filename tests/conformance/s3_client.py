"""A boto3 client of the box's S3 endpoint, and what its refusals look like."""

from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from box import Box

MIB = 1 << 20
Key = tuple[str, str]


def connect(box: Box, key: Key, **config: Any) -> Any:
    """A boto3 client as a user makes it."""
    return boto3.client(
        "s3", endpoint_url=box.s3, region_name="us-east-1", config=Config(retries={"max_attempts": 1}, **config),
        aws_access_key_id=key[0], aws_secret_access_key=key[1],
    )  # fmt: skip


def refused(code: str, call: Any, **how: Any) -> str:
    """The message with which the box answers this error code."""
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(**how)
    error = e.value.response["Error"]
    assert error["Code"] == code, error
    return error.get("Message", "")
