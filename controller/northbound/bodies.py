"""The bodies of requests and answers, as CAMARA's definitions and docs/downloads-api.yaml describe them.

What msgspec decodes into these types is valid: patterns, ranges and unknown properties are its affair. A property that may be
missing is UNSET, for none may be null.
"""

from datetime import datetime
from ipaddress import AddressValueError, IPv6Address
from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType, convert, field, json

from controller.northbound.errors import invalid

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LOOSE_OCTET = "([01]?[0-9]?[0-9]|2[0-4][0-9]|25[0-5])"  # of an application server: leading zeros are decimal
_INT32 = 2**31 - 1

Ipv4 = Annotated[str, Meta(pattern=rf"\A{_OCTET}(\.{_OCTET}){{3}}\Z")]
Ipv4Subnet = Annotated[
    str, Meta(max_length=18, pattern=rf"\A{_LOOSE_OCTET}(\.{_LOOSE_OCTET}){{3}}(/(3[0-2]|[12]?[0-9]))?\Z")
]
Ipv6Subnet = Annotated[str, Meta(max_length=49, pattern=r"\A[0-9a-fA-F:.]+(/(12[0-8]|1[0-1][0-9]|[1-9]?[0-9]))?\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[int, Meta(ge=1, le=_INT32)]
ProfileName = Annotated[str, Meta(min_length=3, max_length=256, pattern=r"\A[a-zA-Z0-9_.-]+\Z")]
ProfileStatus = Literal["ACTIVE", "INACTIVE", "DEPRECATED"]
Timestamp = Annotated[datetime, Meta(tz=True)]
SecureUri = Annotated[str, Meta(max_length=2048)]  # its form has an error of its own, INVALID_SINK

T = TypeVar("T")


def decode(kind: type[T], data: bytes) -> T:
    """A request's body. Raises ApiError."""
    try:
        return json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise invalid(f"not a {kind.__name__}: {error}") from None


class Body(Struct, rename="camel", forbid_unknown_fields=True):
    """A JSON object."""


def is_ipv6(text: str) -> bool:
    try:
        return IPv6Address(text).scope_id is None and len(text) <= 45
    except AddressValueError:
        return False


class DeviceIpv4Address(Body):
    public_address: Ipv4
    private_address: Ipv4 | UnsetType = UNSET
    public_port: Port | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.private_address is UNSET and self.public_port is UNSET:
            raise ValueError("a device's publicAddress needs its privateAddress or publicPort beside it")


class Device(Body):
    phone_number: Annotated[str, Meta(pattern=r"\A\+[1-9][0-9]{4,14}\Z")] | UnsetType = UNSET
    network_access_identifier: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET
    ipv4_address: DeviceIpv4Address | UnsetType = UNSET
    ipv6_address: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if all(getattr(self, name) is UNSET for name in self.__struct_fields__):
            raise ValueError("a device has at least one identifier")
        if self.ipv6_address is not UNSET and not is_ipv6(self.ipv6_address):
            raise ValueError(f'"{self.ipv6_address}" is not an IPv6 address')


class ApplicationServer(Body):
    """A list of addresses, or a subnet of each kind."""

    ip_addresses: Annotated[list[str], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    ipv4_address: Ipv4Subnet | UnsetType = UNSET
    ipv6_address: Ipv6Subnet | UnsetType = UNSET

    def __post_init__(self) -> None:
        subnets = self.ipv4_address is not UNSET or self.ipv6_address is not UNSET
        if subnets == (self.ip_addresses is not UNSET):
            raise ValueError("an application server has either ipAddresses, or ipv4Address or ipv6Address or both")
        if self.ip_addresses is not UNSET:
            if len(set(self.ip_addresses)) < len(self.ip_addresses):
                raise ValueError("ipAddresses has an address twice")
            for address in self.ip_addresses:
                if not is_ipv6(address):
                    convert(address, Ipv4)


class PortRange(Body):
    first: Port = field(name="from")
    last: Port = field(name="to")


class PortsSpec(Body):
    ranges: Annotated[list[PortRange], Meta(min_length=1, max_length=65536)] | UnsetType = UNSET
    ports: Annotated[list[Port], Meta(min_length=1, max_length=65536)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.ranges is UNSET and self.ports is UNSET:
            raise ValueError("neither ranges nor ports")


class AccessToken(Body, tag_field="credentialType", tag="ACCESSTOKEN"):
    access_token: Annotated[str, Meta(max_length=4096)]
    access_token_expires_utc: Timestamp
    access_token_type: Literal["bearer"]


class PrivateKeyJwt(Body, tag_field="credentialType", tag="PRIVATE_KEY_JWT"):
    client_id: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    token_uri: Annotated[str, Meta(max_length=2048, pattern=r"\Ahttps://.")] | UnsetType = UNSET


class BaseSession(Body, kw_only=True):
    application_server: ApplicationServer
    qos_profile: ProfileName
    device: Device | UnsetType = UNSET
    device_ports: PortsSpec | UnsetType = UNSET
    application_server_ports: PortsSpec | UnsetType = UNSET
    sink: SecureUri | UnsetType = UNSET


class CreateSession(BaseSession, kw_only=True):
    duration: Seconds
    sink_credential: AccessToken | PrivateKeyJwt | UnsetType = UNSET


class SessionInfo(BaseSession, kw_only=True):
    """The credential of a sink is never given back."""

    session_id: str
    duration: int
    started_at: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET
    qos_status: str
    status_info: str | UnsetType = UNSET


class ExtendSessionDuration(Body):
    requested_additional_duration: Seconds


class RetrieveSessionsInput(Body):
    device: Device | UnsetType = UNSET


class QosProfileDeviceRequest(Body):
    device: Device | UnsetType = UNSET
    name: ProfileName | UnsetType = UNSET
    status: ProfileStatus | UnsetType = UNSET


class Amount(Body):
    """CAMARA's Rate and Duration."""

    value: int
    unit: str


class QosProfile(Body, kw_only=True):
    name: str
    description: str
    status: ProfileStatus
    target_min_upstream_rate: Amount | UnsetType = UNSET
    target_min_downstream_rate: Amount | UnsetType = UNSET
    min_duration: Amount | UnsetType = UNSET
    max_duration: Amount | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    packet_delay_budget: Amount | UnsetType = UNSET


_Count = Annotated[int, Meta(ge=0, le=2**53)]  # what JSON's readers keep
_Rate = Annotated[int, Meta(ge=1, le=10**12)]
_Name = Annotated[str, Meta(max_length=256)]


class DownloadCandidate(Body, rename=None):
    variant: Annotated[str, Meta(min_length=1, max_length=256)]
    bytes: _Count
    accuracy: Annotated[float, Meta(ge=0, le=1)]
    rate: _Rate


class CreateDownload(Body, kw_only=True, rename=None):
    """`rate` is what the library's own choice needs; the candidates are what else would do."""

    device: Device
    application_server: ApplicationServer = field(name="applicationServer")
    slice: _Name
    download: _Name
    rate: _Rate
    time_left_ns: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    duration_ns: Annotated[int, Meta(ge=1, le=2**53)]
    deadline_ns: _Count | UnsetType = UNSET
    candidates: Annotated[list[DownloadCandidate], Meta(max_length=1024)] = []
    sink: Annotated[str, Meta(max_length=2048)] | UnsetType = UNSET


class DownloadSession(Body, rename=None):
    session_id: str = field(name="sessionId")
    rate: int
    variant: str
