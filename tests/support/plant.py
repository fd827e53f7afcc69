"""A service that listens to telemetry of machines: JSON, bytes and protobuf, on subjects that are not ours."""

import struct

from google.protobuf.wrappers_pb2 import DoubleValue

from jetmesh import EventModel, ForeignMessage, Service, Token

TEMPERATURES = "telemetry.*.{plant_id}.{line_id}.temp"
TELEMETRY = "TELEMETRY"


class Reading(EventModel, type="climate.reading", owner="climate", key_field="plant_id", occurrence=True):
    """A temperature was read; its id is made of its place in the stream."""

    plant_id: Token
    line_id: Token
    celsius: float


class Scanned(EventModel, type="climate.scanned", owner="climate", key_field="plant_id", id_field="scan_id"):
    """Something was scanned; the scanner counts its scans."""

    plant_id: Token
    scan_id: Token
    code: str


class Installed(EventModel, type="climate.installed", owner="climate", key_field="plant_id"):
    """A milestone: the first machine of a plant reports for duty."""

    plant_id: Token


class Pressure(EventModel, type="climate.pressure", owner="climate", key_field="plant_id", occurrence=True):
    """A pressure was measured."""

    plant_id: Token
    bar: float


class Alarm(EventModel, type="climate.alarm", owner="climate", key_field="plant_id", occurrence=True):
    """A reading was too high."""

    plant_id: Token
    celsius: float


def scanned(message: ForeignMessage) -> Scanned:
    """Text, with the number of the scan in a header."""
    plant, code = message.subject.split(".")[2], message.data.decode()
    return Scanned(plant_id=plant, scan_id=message.headers["Scan"], code=code)


def packed(message: ForeignMessage) -> Pressure:
    """Four bytes: a big-endian float."""
    (bar,) = struct.unpack(">f", message.data)
    return Pressure(plant_id=message.tokens["plant"], bar=bar)


def protobuf(message: ForeignMessage) -> Pressure:
    """A protobuf message."""
    return Pressure(plant_id=message.tokens["plant"], bar=DoubleValue.FromString(message.data).value)


def climate() -> Service:
    """The service `climate`, which records temperatures as they are."""
    service = Service("climate")

    @service.listen(TEMPERATURES, stream=TELEMETRY)
    async def read(reading: Reading) -> Reading:
        """A machine said how warm it is: record that."""
        return reading

    return service


def alarming() -> Service:
    """The same, with an alarm for what is too hot."""
    service = climate()

    @service.on
    async def warn(reading: Reading) -> Alarm | None:
        """A temperature was read: raise an alarm if it is too high."""
        return Alarm(plant_id=reading.plant_id, celsius=reading.celsius) if reading.celsius > 80 else None

    return service


def scanning() -> Service:
    """Records what scanners say."""
    service = Service("climate")

    @service.listen("scans.*.*", stream="SCANS", decode=scanned)
    async def scan(one: Scanned) -> Scanned:
        """Something was scanned: record it."""
        return one

    return service


def measuring() -> Service:
    """Records pressures, of old machines that send bytes and of new ones that send protobuf."""
    service = Service("climate")

    @service.listen("pressure.raw.{plant}", stream="PRESSURE", decode=packed)
    async def raw(one: Pressure) -> Pressure:
        """An old machine measured: record it."""
        return one

    @service.listen("pressure.pb.{plant}", stream="PRESSURE", decode=protobuf)
    async def measured(one: Pressure) -> Pressure:
        """A new machine measured: record it."""
        return one

    return service


APP = (climate(),)
