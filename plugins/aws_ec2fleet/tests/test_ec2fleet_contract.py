"""`EC2Fleet` keeps the contract of all provider plug-ins, with each of its fleet types."""

from __future__ import annotations

from typing import ClassVar

from hfcore.testing.awscontract import AwsProviderContract


class TestInstant(AwsProviderContract):
    plugin = "hfcore_aws_ec2fleet.plugin"
    fields: ClassVar = {"fleet_type": "instant", "price_type": "spot"}


class TestRequest(AwsProviderContract):
    plugin = "hfcore_aws_ec2fleet.plugin"
    fields: ClassVar = {"fleet_type": "request", "price_type": "ondemand"}


class TestMaintain(AwsProviderContract):
    plugin = "hfcore_aws_ec2fleet.plugin"
    fields: ClassVar = {"fleet_type": "maintain", "price_type": "ondemand"}
