"""The contract that every driver is held to."""

from dataclasses import replace

import boto3
import pytest

from kvik.testing import KVStoreConformance
from kvik_dynamodb import DynamoDB

from .conftest import MOTO_ITEM_BYTES, PATIENT, Maker


class TestDynamoDB(KVStoreConformance):
    """Run the kit against the driver."""

    examples = 6  # of the state machine: moto takes milliseconds for a request

    @pytest.fixture
    def store(
        self, new_driver: Maker, table: str, dynamodb_endpoint: str, session: boto3.Session, *, is_moto: bool
    ) -> DynamoDB:
        """Give a driver over an empty table, not connected; moto's items are a little smaller than AWS's."""
        store = new_driver(table, "eu-west-1", dynamodb_endpoint, session=session, **PATIENT)
        if is_moto:
            store.limits = replace(store.limits, max_value_bytes=MOTO_ITEM_BYTES - 2048 - 200)
        return store
