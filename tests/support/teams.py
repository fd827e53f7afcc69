"""Two small apps of two teams: a kitchen that cooks what is ordered, and a counter that tells when it is cooked."""

from jetmesh import App, EventModel, Rate, Service, Token


class DishEvent(EventModel, owner="kitchen", key_field="dish_id"):
    """An event about one dish."""

    dish_id: Token


class Ordered(DishEvent, type="dishes.ordered", from_outside=True):
    """A guest wants a dish. Anybody may publish it."""


class Cooked(DishEvent, type="dishes.cooked", ending=True):
    """The dish is ready."""


class Burnt(DishEvent, type="dishes.burnt"):
    """The dish can't be eaten: version 2 of the kitchen says so."""


class CallEvent(EventModel, owner="counter", key_field="dish_id"):
    """An event about one call to a guest."""

    dish_id: Token


class Asked(CallEvent, type="calls.asked", from_outside=True):
    """A guest asks whether a dish is ready. Anybody may publish it."""


class Called(CallEvent, type="calls.called", ending=True):
    """The guest was called."""


def kitchen(version: str = "1.0", *, burns: bool = False, name: str = "kitchen", limit: Rate | None = None) -> App:
    """The app of the first team; a version that `burns` records one more event."""
    service = Service("kitchen")

    @service.intake
    async def take(ordered: Ordered) -> Ordered:
        """A guest orders a dish: take it."""
        return ordered

    if burns:

        @service.on
        async def cook(ordered: Ordered) -> Cooked | Burnt:
            """A dish was ordered: cook it."""
            return Cooked(dish_id=ordered.dish_id)

    else:

        @service.on(limit=limit)
        async def cook(ordered: Ordered) -> Cooked:
            """A dish was ordered: cook it."""
            return Cooked(dish_id=ordered.dish_id)

    return App((service,), name=name, version=version)


def counter(version: str = "1.0", *, hears: bool = True) -> App:
    """The app of the second team, which reads the kitchen's events; where it `hears` guests, it has an intake, too."""
    service = Service("counter")

    @service.on
    async def call(cooked: Cooked) -> Called:
        """A dish is cooked: call the guest."""
        return Called(dish_id=cooked.dish_id)

    if hears:

        @service.intake
        async def ask(asked: Asked) -> Asked:
            """A guest asks: note it."""
            return asked

    return App((service,), name="counter", version=version)


KITCHEN, KITCHEN_2, COUNTER, COUNTER_2 = kitchen(), kitchen("2.0", burns=True), counter(), counter("2.0", hears=False)
