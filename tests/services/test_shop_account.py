"""What the shop's contract lets it read is what its pages show."""

from jetmesh.contracts import outside
from jetmesh_contracts import StockLevel
from jetmesh_shop.flow import SERVICES
from jetmesh_shop.shop.story import TYPES


def test_the_shop_may_follow_what_its_pages_show_and_no_more() -> None:
    (shop,) = (user for user in outside.users(SERVICES) if user.name == "shop")
    assert {event.type for event in shop.follows} == {*(event.type for event in TYPES), StockLevel.type}
    assert (shop.durables, shop.publishes, shop.asks) == ((), (), ())
