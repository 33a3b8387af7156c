"""What every test needs."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_winners_of_this_user(tmp_path_factory):
    """Parameters must not follow from what someone tuned on this machine."""
    os.environ["MKGEN_WINNERS"] = str(tmp_path_factory.mktemp("winners"))


@pytest.fixture(autouse=True, scope="session")
def what_this_session_saw(tmp_path_factory):
    """Records of tests are no records of this user's."""
    os.environ["MKGEN_STATE"] = str(tmp_path_factory.mktemp("state"))
