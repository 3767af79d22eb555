"""RPC methods on the node itself."""

from roles.regtest_node.admission import INCREMENTAL_FEE, MIN_RELAY_FEE
from roles.regtest_node.jsonrpc import Amount, Json
from roles.regtest_node.method import Kind, Method, Parameter
from roles.regtest_node.rpc import Rpc

TOPIC = "Control"
VERSION = 319_900
"""bitcoind's number for the consensus library's version, 31.99."""


async def _help(rpc: Rpc, command: str | None) -> Json:
    if command is not None:
        method = rpc.methods.get(command)
        return method.help if method else f"help: unknown command: {command}"
    topics = sorted({method.topic for method in rpc.methods.values()})
    return "\n\n".join(
        "\n".join(
            [f"== {topic} ==", *(each.signature for each in rpc.methods.values() if each.topic == topic)]
        )
        for topic in topics
    )


async def _uptime(rpc: Rpc) -> Json:
    return rpc.uptime


async def _stop(rpc: Rpc, _wait: Json) -> Json:
    rpc.stopping.set()
    return "regtest_node stopping"


async def _getnetworkinfo(_rpc: Rpc) -> Json:
    return {
        "version": VERSION,
        "subversion": "/Satoshi:31.99.0(hashpool regtest_node)/",
        "protocolversion": 70016,
        "localservices": f"{0:016x}",
        "localservicesnames": [],
        "localrelay": True,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [],
        "relayfee": Amount(MIN_RELAY_FEE),
        "incrementalfee": Amount(INCREMENTAL_FEE),
        "localaddresses": [],
        "warnings": [],
    }


METHODS = (
    Method(
        "getnetworkinfo", "Network", "What is known of the network: this node has none.", (), _getnetworkinfo
    ),
    Method(
        "help",
        TOPIC,
        "All methods, or one in full.",
        (Parameter("command", (Kind.STRING,), "The method", required=False),),
        _help,
    ),
    Method(
        "stop",
        TOPIC,
        "Stops the node.",
        (Parameter("wait", (Kind.NUMBER,), "Ignored", required=False),),
        _stop,
    ),
    Method("uptime", TOPIC, "Seconds since the start.", (), _uptime),
)
