"""Models from JSON's types and back: keys, absent values, paths, and no coercion."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from attrs import define, field, fields, frozen, make_class, resolve_types
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclaw_trio.protocol.converters import camel_case, own, structure, wire
from nanoclaw_trio.protocol.models import (
    AdditionalMount,
    AllowedRoot,
    AvailableGroup,
    ContainerConfig,
    ContainerInput,
    ContainerOutput,
    ImageAttachment,
    MountAllowlist,
    RegisteredGroup,
    TaskSnapshot,
)

reproducible = settings(derandomize=True, deadline=None)

TABLE = [
    (
        ImageAttachment(relative_path="a.png", media_type="image/png"),
        {"relativePath": "a.png", "mediaType": "image/png"},
    ),
    (
        ContainerInput(prompt="hi", group_folder="family", chat_jid="1@chat", is_main=False),
        {"prompt": "hi", "groupFolder": "family", "chatJid": "1@chat", "isMain": False},
    ),
    (
        ContainerInput(
            prompt="hi",
            group_folder="family",
            chat_jid="1@chat",
            is_main=True,
            session_id="s",
            is_scheduled_task=False,
            assistant_name="Andy",
            image_attachments=(ImageAttachment(relative_path="a", media_type="b"),),
        ),
        {
            "prompt": "hi",
            "groupFolder": "family",
            "chatJid": "1@chat",
            "isMain": True,
            "sessionId": "s",
            "isScheduledTask": False,
            "assistantName": "Andy",
            "imageAttachments": [{"relativePath": "a", "mediaType": "b"}],
        },
    ),
    (ContainerOutput(status="success", result=None), {"status": "success", "result": None}),
    (
        ContainerOutput(status="error", result="r", new_session_id="s", error="e"),
        {"status": "error", "result": "r", "newSessionId": "s", "error": "e"},
    ),
    (
        ContainerOutput(status="success", result=None, follow_ups=("1.json",)),
        {"status": "success", "result": None, "followUps": ["1.json"]},
    ),
    (
        ContainerOutput(status="success", result=None, follow_ups=()),
        {"status": "success", "result": None, "followUps": []},
    ),
    (
        AdditionalMount(host_path="~/a", container_path="b", readonly=False),
        {"hostPath": "~/a", "containerPath": "b", "readonly": False},
    ),
    (AdditionalMount(host_path="~/a"), {"hostPath": "~/a", "readonly": True}),
    (ContainerConfig(), {"additionalMounts": []}),
    (
        ContainerConfig(additional_mounts=(AdditionalMount(host_path="a"),), timeout=5),
        {"additionalMounts": [{"hostPath": "a", "readonly": True}], "timeout": 5},
    ),
    (
        ContainerConfig(network="none", memory=2**30, cpus=1.5, read_only=True),
        {
            "additionalMounts": [],
            "network": "none",
            "memory": 2**30,
            "cpus": 1.5,
            "readOnly": True,
        },
    ),
    (ContainerConfig(cpus=2), {"additionalMounts": [], "cpus": 2}),
    (
        RegisteredGroup(name="Family", folder="family"),
        {"name": "Family", "folder": "family", "trigger": "", "addedAt": ""},
    ),
    (
        RegisteredGroup(
            name="Family",
            folder="family",
            trigger="@Andy",
            added_at="2026-02-01T15:30:00.000Z",
            requires_trigger=False,
            container_config=ContainerConfig(),
        ),
        {
            "name": "Family",
            "folder": "family",
            "trigger": "@Andy",
            "addedAt": "2026-02-01T15:30:00.000Z",
            "requiresTrigger": False,
            "containerConfig": {"additionalMounts": []},
        },
    ),
    (
        MountAllowlist(
            allowed_roots=(AllowedRoot(path="~/a", allow_read_write=True, description="d"),),
            blocked_patterns=("x",),
            non_main_read_only=True,
        ),
        {
            "allowedRoots": [{"path": "~/a", "allowReadWrite": True, "description": "d"}],
            "blockedPatterns": ["x"],
            "nonMainReadOnly": True,
        },
    ),
    (
        AllowedRoot(path="/srv", allow_read_write=False),
        {"path": "/srv", "allowReadWrite": False},
    ),
    (
        TaskSnapshot(
            id="t",
            group_folder="family",
            prompt="p",
            schedule_type="once",
            schedule_value="2026-02-01T15:30:00",
            status="active",
            next_run=None,
        ),
        {
            "id": "t",
            "groupFolder": "family",
            "prompt": "p",
            "schedule_type": "once",
            "schedule_value": "2026-02-01T15:30:00",
            "status": "active",
            "next_run": None,
        },
    ),
    (
        AvailableGroup(jid="j", name="n", last_activity="l", is_registered=True),
        {"jid": "j", "name": "n", "lastActivity": "l", "isRegistered": True},
    ),
]
IDS = [f"{type(model).__name__}-{len(document)}" for model, document in TABLE]

BOTH = pytest.mark.parametrize("converter", [wire, own], ids=["wire", "own"])


@BOTH
@pytest.mark.parametrize(("model", "document"), TABLE, ids=IDS)
def test_model_and_document(converter: Any, model: Any, document: dict[str, Any]) -> None:
    """Each model makes exactly this document and is made by it; absent values leave no key."""
    made = converter.unstructure(model)
    assert list_like(made) == document
    assert structure(converter, document, type(model)) == model


def list_like(value: Any) -> Any:
    """With lists for tuples, as JSON has them."""
    match value:
        case dict():
            return {key: list_like(item) for key, item in value.items()}
        case list() | tuple():
            return [list_like(item) for item in value]
        case _:
            return value


def of_kind(annotation: Any) -> st.SearchStrategy[Any]:
    """Values for a field, found by its type."""
    match getattr(annotation, "__origin__", None):
        case origin if origin is tuple:
            return st.lists(of_kind(annotation.__args__[0]), max_size=3).map(tuple)
        case None if hasattr(annotation, "__attrs_attrs__"):
            return models_of(annotation)
        case _:
            arguments = getattr(annotation, "__args__", None)
            if arguments and not isinstance(arguments[0], str):
                return st.one_of([of_kind(argument) for argument in arguments])
            return st.sampled_from(arguments) if arguments else st.from_type(annotation)


def models_of(cls: type) -> st.SearchStrategy[Any]:
    """Models with any values that their types allow."""
    return st.builds(cls, **{a.name: of_kind(a.type) for a in fields(resolve_types(cls))})


@reproducible
@given(st.one_of([models_of(cls) for cls in {type(model) for model, _ in TABLE}]))
def test_any_model_survives_the_way_there_and_back(model: Any) -> None:
    """Whatever its values, a model becomes a document that becomes the same model."""
    for converter in (wire, own):
        document = list_like(converter.unstructure(model))
        assert structure(converter, document, type(model)) == model


@pytest.mark.parametrize(("model", "document"), TABLE, ids=IDS)
def test_wire_ignores_unknown_keys(model: Any, document: dict[str, Any]) -> None:
    """The other side may be newer: what we don't know is let be."""
    assert structure(wire, document | {"newerKey": {"a": 1}}, type(model)) == model


@pytest.mark.parametrize(("model", "document"), TABLE, ids=IDS)
def test_own_files_refuse_unknown_keys_by_name(model: Any, document: dict[str, Any]) -> None:
    """In a file of ours an unknown key is a misspelling, and the error names it."""
    with pytest.raises(ValueError) as caught:
        structure(own, document | {"misspelt": 1, "alsoWrong": 2}, type(model))
    assert str(caught.value) == "unknown key 'alsoWrong', 'misspelt' @ $"


def test_own_files_refuse_snake_case_names() -> None:
    """Our own names for the fields aren't keys: there is one spelling."""
    with pytest.raises(ValueError, match=r"unknown key 'host_path' @ \$"):
        structure(own, {"hostPath": "a", "host_path": "b"}, AdditionalMount)


OUTPUT = {"status": "success", "result": "hi"}
ALLOWLIST = {"allowedRoots": [], "blockedPatterns": [], "nonMainReadOnly": True}


@pytest.mark.parametrize(
    ("cls", "document", "problem"),
    [
        (ContainerOutput, {"result": None}, "required field missing @ $.status"),
        (ContainerOutput, {"status": "success"}, "required field missing @ $.result"),
        (ContainerOutput, [], "not an object @ $"),
        (ContainerOutput, "status", "not an object @ $"),
        (ContainerOutput, None, "not an object @ $"),
        (ContainerOutput, 5, "not an object @ $"),
        (ContainerOutput, OUTPUT | {"status": "ok"}, "not one of success, error @ $.status"),
        (ContainerOutput, OUTPUT | {"status": None}, "not one of success, error @ $.status"),
        (ContainerOutput, OUTPUT | {"status": ["success"]}, "not one of success, error @ $.status"),
        (ContainerOutput, OUTPUT | {"result": 5}, "not a string @ $.result"),
        (ContainerOutput, OUTPUT | {"result": True}, "not a string @ $.result"),
        (ContainerOutput, OUTPUT | {"result": ["hi"]}, "not a string @ $.result"),
        (ContainerOutput, OUTPUT | {"newSessionId": 5}, "not a string @ $.newSessionId"),
        (
            ContainerOutput,
            {"status": 1, "result": 2},
            "not one of success, error @ $.status; not a string @ $.result",
        ),
        (ContainerConfig, [], "not an object @ $"),
        (ContainerConfig, "", "not an object @ $"),
        (ContainerConfig, {"timeout": 1.0}, "not a whole number @ $.timeout"),
        (ContainerConfig, {"timeout": "5"}, "not a whole number @ $.timeout"),
        (ContainerConfig, {"timeout": True}, "not a whole number @ $.timeout"),
        (ContainerConfig, {"cpus": "2"}, "not a number @ $.cpus"),
        (ContainerConfig, {"cpus": True}, "not a number @ $.cpus"),
        (ContainerConfig, {"memory": 1.5}, "not a whole number @ $.memory"),
        (ContainerConfig, {"network": 5}, "not a string @ $.network"),
        (ContainerConfig, {"readOnly": "no"}, "not true or false @ $.readOnly"),
        (ContainerConfig, {"additionalMounts": {}}, "not an array @ $.additionalMounts"),
        (ContainerConfig, {"additionalMounts": ""}, "not an array @ $.additionalMounts"),
        (ContainerConfig, {"additionalMounts": None}, "not an array @ $.additionalMounts"),
        (
            ContainerConfig,
            {"additionalMounts": [{"hostPath": "a"}, {"readonly": 1}, 7]},
            (
                "required field missing @ $.additionalMounts[1].hostPath; "
                "not true or false @ $.additionalMounts[1].readonly; "
                "not an object @ $.additionalMounts[2]"
            ),
        ),
        (
            RegisteredGroup,
            {"name": "a", "folder": "b", "containerConfig": {"timeout": "5"}},
            "not a whole number @ $.containerConfig.timeout",
        ),
        (
            MountAllowlist,
            ALLOWLIST | {"nonMainReadOnly": 1},
            "not true or false @ $.nonMainReadOnly",
        ),
        (
            MountAllowlist,
            ALLOWLIST | {"nonMainReadOnly": "true"},
            "not true or false @ $.nonMainReadOnly",
        ),
        (
            MountAllowlist,
            ALLOWLIST | {"blockedPatterns": "abc"},
            "not an array @ $.blockedPatterns",
        ),
        (
            MountAllowlist,
            ALLOWLIST | {"blockedPatterns": ["a", 5]},
            "not a string @ $.blockedPatterns[1]",
        ),
        (TaskSnapshot, {"schedule_type": "daily"}, "not one of cron, interval, once"),
        (TaskSnapshot, {"scheduleType": "cron"}, "required field missing @ $.schedule_type"),
    ],
)
def test_misfit_is_named_by_its_path(cls: type, document: Any, problem: str) -> None:
    """Nothing is coerced, and each thing that is wrong is said with the path of the document."""
    for converter in (wire, own):
        with pytest.raises(ValueError) as caught:
            structure(converter, document, cls)
        assert problem in str(caught.value)


@BOTH
def test_refusal_has_no_value_and_no_context(converter: Any) -> None:
    """The error says where and of what kind; what stood there is in no part of its chain."""
    document = {"status": CANARY, "result": [CANARY], "newSessionId": {CANARY: CANARY}}
    with pytest.raises(ValueError) as caught:
        structure(converter, document, ContainerOutput)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert CANARY not in "".join(traceback.format_exception(error))


CANARY = "canary-" + "4711"


def test_field_that_can_not_be_made_is_said_so() -> None:
    """An error of a model's own making is reported with the path, and without its words."""

    @frozen(kw_only=True)
    class Particular:
        word: str

        def __attrs_post_init__(self) -> None:
            raise LookupError(self.word)

    with pytest.raises(ValueError, match=r"^not what belongs here @ \$$"):
        structure(wire, {"word": CANARY}, Particular)


@BOTH
@pytest.mark.parametrize(
    ("kind", "value"), [(int, True), (int, 1.0), (int, None), (bool, 1), (bool, None), (str, None)]
)
def test_required_value_is_exactly_of_its_kind(converter: Any, kind: type, value: Any) -> None:
    """Where None isn't allowed it is refused, and true is no number."""
    required = make_class("Required", {"field": field(type=kind)}, kw_only=True)
    with pytest.raises(ValueError, match=r"^not .* @ \$\.field$"):
        structure(converter, {"field": value}, required)


def test_mutable_classes_follow_the_same_rules() -> None:
    """A class of another room is converted as ours are, without being registered."""

    @define(kw_only=True)
    class FollowUp:
        sent_at: int
        a_note: str | None = None

    assert wire.unstructure(FollowUp(sent_at=5)) == {"sentAt": 5}
    assert structure(wire, {"sentAt": 5, "aNote": "n"}, FollowUp) == FollowUp(sent_at=5, a_note="n")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("prompt", "prompt"),
        ("new_session_id", "newSessionId"),
        ("is_main", "isMain"),
        ("a_b_c", "aBC"),
    ],
)
def test_camel_case(name: str, key: str) -> None:
    """The first word stays, the others begin with a capital."""
    assert camel_case(name) == key
