"""The least code for the same calls: `bare.py CALLS` makes them by boto3, and prints the machines in the answers.

CALLS is a file: `[[service, method, parameters], …]`.
"""

import json
import sys

import boto3

with open(sys.argv[1]) as file:  # noqa: PTH123 - as short as can be
    calls = json.load(file)
clients = {service: boto3.client(service) for service in {service for service, _, _ in calls}}
machines = []
for service, method, parameters in calls:
    answer = getattr(clients[service], method)(**parameters)
    for reservation in answer.get("Reservations", [answer]):
        machines += [
            {
                "machineId": one["InstanceId"],
                "name": one["PrivateDnsName"],
                "privateIpAddress": one["PrivateIpAddress"],
                "status": one["State"]["Name"],
                "launchtime": int(one["LaunchTime"].timestamp()),
            }
            for one in reservation.get("Instances", [])
            if "PrivateDnsName" in one
        ]
print(json.dumps({"machines": machines}))
