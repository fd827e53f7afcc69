"""Settings come from the environment, and an error names its variable."""

import pytest
from pydantic import BaseModel

from jetmesh import settings
from jetmesh.runtime.runner import delay_seconds
from jetmesh.settings import Settings, SettingsError, check_names, read, variable
from tests.support.jobs import Asked, Failed, work


def test_defaults_hold_and_an_empty_variable_counts_as_unset() -> None:
    settings = read(Settings, {"NATS_URL": "", "JETMESH_SLOTS": ""})
    assert (settings.nats_url, settings.slots) == ("nats://127.0.0.1:4222", 512)


def test_standard_names_stay_and_the_others_begin_with_jetmesh() -> None:
    assert variable(Settings, "nats_url") == "NATS_URL"
    assert variable(Settings, "ack_wait_seconds") == "JETMESH_ACK_WAIT_SECONDS"
    settings = read(Settings, {"NATS_URL": "nats://broker:4222", "JETMESH_ACK_WAIT_SECONDS": "5"})
    assert (settings.nats_url, settings.ack_wait_seconds) == ("nats://broker:4222", 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JETMESH_SLOTS", "many"),
        ("JETMESH_SLOTS", "0"),
        ("JETMESH_REPLICAS", "9"),
        ("JETMESH_PARTITIONS", "orders"),
        ("JETMESH_PARTITIONS", "orders=1"),
        ("JETMESH_PARTITIONS", "orders=2,=3"),
        ("JETMESH_HEALTH_PORT", "70000"),
        ("JETMESH_LOG_FORMAT", "xml"),
        ("JETMESH_LOG_LEVEL", "LOUD"),
        ("JETMESH_DRAIN_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"settings: {name}: "):
        read(Settings, {name: value})


def test_partitions_are_a_number_a_service() -> None:
    settings = read(Settings, {"JETMESH_PARTITIONS": "orders=2, some-service=4"})
    assert settings.partitions == {"orders": 2, "some-service": 4}
    assert settings.split == {"ORDERS": 2, "SOME_SERVICE": 4}


def test_all_wrong_variables_are_named_at_once() -> None:
    with pytest.raises(
        SettingsError, match=r"JETMESH_SLOTS: .*; JETMESH_REPLICAS: |JETMESH_REPLICAS: .*; JETMESH_SLOTS"
    ):
        read(Settings, {"JETMESH_SLOTS": "x", "JETMESH_REPLICAS": "x"})


def test_a_deadline_is_set_by_its_own_variable() -> None:
    service = work()

    @service.after(minutes=15)
    async def time_out(asked: Asked) -> Failed:
        """A job was asked for a while ago: give it up."""
        return Failed(job_id=asked.job_id)

    (deadline,) = service.reactions
    assert delay_seconds(deadline, read(Settings, {}).after_seconds) == 900
    chosen = read(Settings, {"JETMESH_AFTER_WORK_TIME_OUT_SECONDS": "2.5"})
    assert delay_seconds(deadline, chosen.after_seconds) == 2.5
    for wrong in ("soon", "-1", "nan"):
        with pytest.raises(SettingsError, match="JETMESH_AFTER_WORK_TIME_OUT_SECONDS: Input should be"):
            read(Settings, {"JETMESH_AFTER_WORK_TIME_OUT_SECONDS": wrong})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("JETMESH_SLOT", "JETMESH_SLOT: there is no such setting; JETMESH_SLOTS is the nearest"),
        ("JETMESH_REPLICA", "JETMESH_REPLICAS is the nearest"),
        ("JETMESH_NATS_URL", "JETMESH_NATS_URL: write NATS_URL"),
        ("JETMESH_OTEL_SERVICE_NAME", "write OTEL_SERVICE_NAME"),
    ],
)
def test_a_setting_that_is_misspelt_or_in_the_wrong_place_names_the_right_one(name: str, words: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        check_names({name: "1"})
    assert words in str(wrong.value)


@pytest.mark.parametrize(
    "name", ["NATS_URL", "JETMESH_SLOTS", "JETMESH_AFTER_ORDERS_TIME_OUT_SECONDS", "JETMESH_SMTP_URL", "PATH"]
)
def test_what_is_a_setting_or_may_be_another_services_is_left_alone(name: str) -> None:
    check_names({name: "1"})


def test_a_service_knows_the_settings_that_its_wiring_read() -> None:
    class Own(BaseModel):
        slot: int = 0

    assert read(Own, {"JETMESH_SLOT": "1"}).slot == 1
    check_names({"JETMESH_SLOT": "1"})
    del settings._READ[Own]
