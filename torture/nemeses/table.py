"""The nemeses by their names."""

from . import of_clients, of_clocks, of_room, of_servers, of_the_network

NEMESES = {
    nemesis.name: nemesis
    for nemesis in (
        of_clients.KILL,
        of_clients.STOP,
        of_servers.KILL,
        of_servers.STOP,
        of_servers.FAIL_OVER,
        of_the_network.PARTITION,
        of_the_network.SLOWNESS,
        of_the_network.HALVES,
        of_room.FULL,
        of_clocks.CLOCK,
    )
}
