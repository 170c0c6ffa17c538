"""QoS profiles: which there are, what a session of each gets, and CAMARA's calls for them."""

from msgspec import UNSET, convert

from controller.northbound.bodies import Amount, ProfileName, QosProfile, QosProfileDeviceRequest, decode
from controller.northbound.calls import Answer, Call
from controller.northbound.directory import Directory
from controller.northbound.errors import ApiError, invalid
from scenarios.camara import LONGEST_SESSION, camara_rate
from scenarios.plan import Plan, Profile
from scenarios.quantity import show

DOWNLOAD = "insitu.download"  # of the sessions that downloads have
_UNITS = (("Seconds", 10**9), ("Milliseconds", 10**6), ("Microseconds", 10**3), ("Nanoseconds", 1))


class Profiles:
    def __init__(self, plan: Plan, directory: Directory) -> None:
        self._directory = directory
        self._profiles = {profile.name: profile for profile in plan.profiles}
        self._slices = {name: entry.name for entry in plan.slices for name in entry.profiles}
        self._shown = {profile.name: _shown(profile) for profile in plan.profiles}
        about = (
            "The session of a model download, at the rate that the download needs; by POST /insitu/v1/downloads alone"
        )
        self._shown[DOWNLOAD] = QosProfile(
            name=DOWNLOAD, description=about, status="INACTIVE", max_duration=_amount(LONGEST_SESSION)
        )

    def applicable(self, name: str) -> Profile:
        """The profile for a new session. Raises ApiError."""
        if name not in self._shown:
            raise invalid(f'there is no QoS profile "{name}"')
        if (status := self._shown[name].status) != "ACTIVE":
            raise ApiError(422, "QUALITY_ON_DEMAND.QOS_PROFILE_NOT_APPLICABLE", f'QoS profile "{name}" is {status}')
        return self._profiles[name]

    def longest_ns(self, name: str) -> int:
        return self._profiles[name].longest_ns if name in self._profiles else LONGEST_SESSION

    def slice_of(self, name: str, device: str) -> str:
        """The slice that offers a profile; the device's own where none does."""
        return self._slices.get(name) or self._directory.slices[device]

    def get(self, call: Call) -> Answer:
        """GET /qos-profiles/{name}"""
        name = _name(call.resource)
        if name not in self._shown:
            raise ApiError(404, "NOT_FOUND", f'there is no QoS profile "{name}"')
        return Answer(200, self._shown[name])

    def retrieve(self, call: Call) -> Answer:
        """POST /retrieve-qos-profiles. Every device may use every profile."""
        asked = decode(QosProfileDeviceRequest, call.body)
        if asked.device is not UNSET:
            self._directory.device(asked.device)
        fitting = [
            profile
            for profile in self._shown.values()
            if asked.name in (UNSET, profile.name) and asked.status in (UNSET, profile.status)
        ]
        return Answer(200, fitting)


def _name(text: str) -> str:
    try:
        return convert(text, ProfileName)
    except ValueError as error:
        raise invalid(f"not the name of a QoS profile: {error}") from None


def _shown(profile: Profile) -> QosProfile:
    return QosProfile(
        name=profile.name,
        description=f"At least {show(profile.down_bps, 'rate')} downstream and {show(profile.up_bps, 'rate')} upstream",
        status=profile.status,
        target_min_upstream_rate=_rate(profile.up_bps),
        target_min_downstream_rate=_rate(profile.down_bps),
        min_duration=_amount(profile.shortest_ns),
        max_duration=_amount(profile.longest_ns),
        priority=profile.priority,
        packet_delay_budget=UNSET if profile.delay_ns is None else _amount(profile.delay_ns),
    )


def _rate(bps: int) -> Amount:
    said = camara_rate(bps)
    assert said, "checked when the scenario was read"
    return Amount(*said)


def _amount(ns: int) -> Amount:
    unit, factor = next((unit, factor) for unit, factor in _UNITS if ns % factor == 0)
    return Amount(ns // factor, unit)
