"""Registries: what is a user's mistake, and what is a programmer's."""

import pytest

from ppcoordconv.utils.errors import ArgumentError, UserError, argument_prefix, shortened
from ppcoordconv.utils.registry import Registry


@pytest.fixture
def registry():
    registry = Registry("thing", "ppcoordconv.ops")

    @registry.register
    def bug(size: int = 1):
        return None + size

    @registry.register
    def careful(size: int = 1):
        raise ArgumentError("size", f"takes 1, got {size!r}")

    return registry


def test_a_bug_in_a_builder_stays_what_it_is(registry):
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        registry.build("bug")
    assert caught.traceback[-1].name == "bug"


def test_a_builders_own_words_for_a_user_pass(registry):
    with pytest.raises(ArgumentError, match="^size takes 1, got 2$"):
        registry.build("careful", size=2)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("bgu", {}, "there is no thing 'bgu': did you mean 'bug'"),
        ("bug", {"sise": 1}, "thing 'bug' has no option 'sise': did you mean 'size'"),
    ],
)
def test_wrong_names_are_a_users_mistake_at_once(registry, name, options, words):
    with pytest.raises(UserError, match=words):
        registry.bind(name, **options)


class Base:
    def __init__(self, data, size=1):
        self.given = data, size


class Untouched(Base):
    pass


class Wider(Untouched):
    name = "wider"

    def __init__(self, *args, margin=2, **options):
        super().__init__(*args, **options)
        self.margin = margin


def test_a_class_that_passes_keywords_on_has_the_options_of_its_base():
    registry = Registry("thing", "ppcoordconv.ops")
    registry.register(Wider)
    made = registry.build("wider", data="d", size=3, margin=4)
    assert (made.given, made.margin) == (("d", 3), 4)
    with pytest.raises(UserError, match="did you mean 'size'. Its options are margin, data, size"):
        registry.bind("wider", data="d", sise=3)
    with pytest.raises(UserError, match="needs the option 'data'"):
        registry.bind("wider", size=3)


def test_a_name_is_given_once(registry):
    with pytest.raises(ValueError, match="there is a thing 'bug' already: .*test_registry.registry") as caught:

        @registry.register
        def bug():
            pass

    assert not isinstance(caught.value, UserError)


def test_arguments_are_named_as_they_were_given():
    with pytest.raises(UserError, match="^task.flip takes 1$") as caught, argument_prefix("task."):
        raise ArgumentError("flip", "takes 1")
    assert not isinstance(caught.value, ArgumentError)  # it has its prefix: no other is added
    of_task, of_export = argument_prefix("task."), argument_prefix("export.", {"nms": True})
    with pytest.raises(UserError, match="^task.flip takes 1$"), of_task, of_export:
        raise ArgumentError("flip", "takes 1")
    with pytest.raises(UserError, match="^there is no file x$"), argument_prefix("task."):
        raise UserError("there is no file x")


def test_long_lists_are_shortened():
    assert shortened([1, 2, 3], 3) == "1, 2, 3"
    assert shortened([1, 2, 3, 4], 2) == "1, 2, and 2 more"
    assert shortened(["a", "b"], 1, "; ") == "a; and 1 more"
