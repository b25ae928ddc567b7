"""Are the private networks of a machine read rightly from its routes?"""

from __future__ import annotations

import sys

import pytest

from app.cli.networks import LocalNetwork, find_private_networks, parse_proc_routes

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ROUTES = HEADER + (
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"  # the default route
    "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"  # 192.168.1.0/24
    "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"  # the same by another interface
    "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"  # 172.17.0.0/16
    "eth1\t0000000A\t0101A8C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n"  # 10.0.0.0/8, behind a router
    "eth2\t00710BCB\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"  # a public network
    "tun0\t0101A8C0\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"  # one host
    "broken line\n"
)


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample was written on a little-endian machine")
def test_only_directly_connected_private_networks_are_found() -> None:
    assert parse_proc_routes(ROUTES) == [
        LocalNetwork("192.168.1.0/24", "eth0"),
        LocalNetwork("172.17.0.0/16", "docker0"),
    ]


def test_bridges_of_containers_are_told_apart() -> None:
    assert LocalNetwork("172.17.0.0/16", "docker0").is_container_bridge
    assert LocalNetwork("172.18.0.0/16", "br-1f2e3d").is_container_bridge
    assert not LocalNetwork("192.168.1.0/24", "eth0").is_container_bridge
    assert not LocalNetwork("192.168.1.0/24").is_container_bridge


def test_this_machine_can_be_asked() -> None:
    found = find_private_networks()
    assert len({network.cidr for network in found}) == len(found)
