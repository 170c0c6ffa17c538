"""Mininet's hosts and switches without a process each: a host is a namespace, and its shell starts when it is first used."""

import socket
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import mininet.node
from mininet.link import Intf

from linux import namespace
from scenarios.plan import End
from scenarios.plan import Link as PlannedLink


class _OfShell:
    """What a node has of its shell; whoever reads it starts the shell."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._place = "_" + name

    def __get__(self, node: "LazyShell", owner: type | None = None) -> Any:
        node.startShell()
        return getattr(node, self._place)

    def __set__(self, node: "LazyShell", value: Any) -> None:
        setattr(node, self._place, value)


class LazyShell(mininet.node.Node):
    """A Mininet node whose shell is started when it is first used."""

    pid, stdin, stdout, pollOut = _OfShell(), _OfShell(), _OfShell(), _OfShell()
    inNamespace: bool
    _made = False

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **params)
        self._made = True

    def inside(self) -> AbstractContextManager[None]:
        """This thread, and so what it starts, is where the node is."""
        return nullcontext()

    def startShell(self, mnopts: str | None = None) -> None:
        """Mininet starts the shell while it makes a node; here whatever needs it first does."""
        if not self._made or self.shell is not None:
            return
        # The shell is born inside the namespace; with `inNamespace` set, Mininet's mnexec would make another. And it
        # would close all files up to the limit, one by one: none of ours is inherited.
        in_namespace, self.inNamespace = self.inNamespace, False
        with self.inside():
            super().startShell(mnopts or "-d")
        self.inNamespace = in_namespace

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        if not self._made:  # Mininet brings `lo` up while it makes a switch; it is up
            return ""
        self.startShell()
        return super().cmd(*args, **kwargs)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        self.startShell()
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        with self.inside():
            return super().popen(*args, **{"mncmd": ["mnexec", "-d"], **kwargs})

    def __repr__(self) -> str:
        ports = ",".join(f"{intf}:{intf.IP()}" for intf in self.intfList())
        return f"<{type(self).__name__} {self.name}: {ports} pid={self._pid}> "


class Host(LazyShell, mininet.node.Host):
    """A host in a namespace of its own name; `ip netns exec NAME` enters it too."""

    def __init__(self, name: str, **params: Any) -> None:
        namespace.create(name)
        super().__init__(name, **params)

    def inside(self) -> AbstractContextManager[None]:
        return namespace.inside(self.name)

    def terminate(self) -> None:
        super().terminate()
        if namespace.path(self.name).exists():
            namespace.remove(self.name)


class Switch(LazyShell, mininet.node.OVSSwitch):
    """An Open vSwitch bridge in the root namespace."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, protocols="OpenFlow13", **params)

    @classmethod
    def setup(cls) -> None:
        """Mininet asks for Open vSwitch's version here, by two processes; the machine has started it."""

    def defaultIntf(self) -> Any:
        """A port, which has no address: Mininet's is `lo`, so that to ping a switch is to ping oneself."""
        return next((intf for intf in self.intfList() if isinstance(intf, Port)), None)

    def dpctl(self, *args: str) -> Any:
        return super().dpctl(*args, "-O", "OpenFlow13")


class Port(Intf):
    """One end of a link as the plan has it. The network makes and sets all interfaces at once, so this runs no command."""

    def __init__(self, end: End, node: mininet.node.Node, link: "Link", mac: str | None) -> None:
        self.planned = end
        super().__init__(end.interface, node=node, port=end.port, link=link, mac=mac, moveIntfFn=_stay)
        self.ip, _, self.prefixLen = node.params.get("ip", "").partition("/")

    def config(self, **_: Any) -> dict[str, Any]:
        return {}

    def updateIP(self) -> str | None:
        """Mininet's CLI asks with each name that it replaces, and takes the name itself if there is no address."""
        return self.ip or None

    def status(self) -> str:
        with self.node.inside():
            return "OK" if self.name in (name for _, name in socket.if_nameindex()) else "MISSING"


class Link:
    """A pair of ports, in Mininet's sense of a link."""

    def __init__(self, node1: mininet.node.Node, node2: mininet.node.Node, planned: PlannedLink, **params: Any) -> None:
        self.planned = planned
        a, b = planned.ends
        self.intf1 = Port(a, node1, self, node1.params.get("mac") or params.get("addr1"))
        self.intf2 = Port(b, node2, self, node2.params.get("mac") or params.get("addr2"))

    def stop(self) -> None:
        """The namespaces and bridges take their interfaces with them."""

    def status(self) -> str:
        return f"({self.intf1.status()} {self.intf2.status()})"

    def __str__(self) -> str:
        ends = "<->".join(f"{intf.node}:{intf}" for intf in (self.intf1, self.intf2))
        return f"{self.planned.name} {ends}"


def _stay(*_: Any, **__: Any) -> None:
    """Interfaces are made where they belong."""
