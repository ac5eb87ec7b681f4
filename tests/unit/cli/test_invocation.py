"""What an invocation makes of its options."""

from __future__ import annotations

from attrs import evolve

from nanoclaw_trio.cli.invocation import adjust_settings


def test_options_go_before_settings(options, settings):
    """Image, agent and timeout of the command line are the settings of this call."""
    options = evolve(
        options, image="mine", agent="echo", timeout=3.0, credential_proxy="tcp:10.0.0.1"
    )
    adjusted = adjust_settings(settings, options)
    assert (adjusted.container_image, adjusted.agent) == ("mine", "echo")
    assert adjusted.timeout_for(None) == 3.0
    assert adjusted.credential_proxy == "tcp:10.0.0.1"


def test_without_options_the_settings_stand(options, settings):
    """What wasn't given on the command line is as the project has it."""
    assert adjust_settings(settings, options) == settings
