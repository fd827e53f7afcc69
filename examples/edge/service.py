"""Parcels: somebody asks over HTTP for a parcel to be fetched."""

from dataclasses import dataclass

from jetmesh import EventModel, Service, Token


class ParcelEvent(EventModel, owner="parcels", key_field="parcel_id"):
    """Something happened to a parcel."""

    parcel_id: Token


class ParcelAsked(ParcelEvent, type="parcels.asked"):
    """Somebody wants a parcel to be fetched."""

    street: str


class ParcelFetched(ParcelEvent, type="parcels.fetched", ending=True):
    """The parcel is in a depot."""

    depot: str


@dataclass(frozen=True)
class Depots:
    """Where parcels are brought."""

    nearest: str


parcels = Service("parcels", Depots)


@parcels.on
async def fetch(asked: ParcelAsked, depots: Depots) -> ParcelFetched:
    """A parcel is to be fetched: bring it to the nearest depot."""
    return ParcelFetched(parcel_id=asked.parcel_id, depot=depots.nearest)
