"""Mininet's hosts and switches without a process each: a host is a namespace, and its shell starts when it is first used."""

from typing import Any

import mininet.node
from mininet.link import Intf

from scenarios.plan import End
from scenarios.plan import Link as PlannedLink
from topology import namespace


class LazyShell(mininet.node.Node):
    """A Mininet node whose shell is started by its first command."""

    _made = False

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, **params)
        self._made = True

    def startShell(self, mnopts: str | None = None) -> None:
        """Mininet starts the shell while it makes a node; here the first command does."""
        if self._made:
            super().startShell(mnopts)

    def cmd(self, *args: Any, **kwargs: Any) -> Any:
        if not self._made:  # Mininet brings `lo` up while it makes a switch; it is up
            return ""
        if self.shell is None:
            self.startShell()
        return super().cmd(*args, **kwargs)

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        if self.shell is None:
            self.startShell()
        super().sendCmd(*args, **kwargs)


class Host(LazyShell, mininet.node.Host):
    """A host in a namespace of its own name; `ip netns exec NAME` enters it too."""

    def __init__(self, name: str, **params: Any) -> None:
        namespace.create(name)
        super().__init__(name, **params)

    def startShell(self, mnopts: str | None = None) -> None:
        # The shell is born inside the namespace; with `inNamespace` set, Mininet's mnexec would make another
        self.inNamespace = False
        with namespace.inside(self.name):
            super().startShell(mnopts)
        self.inNamespace = True

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        with namespace.inside(self.name):
            return super().popen(*args, **{"mncmd": ["mnexec", "-d"], **kwargs})

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


class Port(Intf):
    """One end of a link as the plan has it. The network makes and sets all interfaces at once, so this runs no command."""

    def __init__(self, end: End, node: mininet.node.Node, link: "Link", mac: str | None) -> None:
        self.planned = end
        super().__init__(end.interface, node=node, port=end.port, link=link, mac=mac, moveIntfFn=_stay)
        self.ip, _, self.prefixLen = node.params.get("ip", "").partition("/")

    def config(self, **_: Any) -> dict[str, Any]:
        return {}


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
        return f"{self.intf1}<->{self.intf2}"


def _stay(*_: Any, **__: Any) -> None:
    """Interfaces are made where they belong."""
