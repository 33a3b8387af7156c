"""What every test needs."""

from __future__ import annotations

import os

import pytest

#: Files that take minutes begin first, so that no worker is left alone with one at the end.
LONGEST = (
    "test_mutants", "test_outside", "test_own_shapes", "test_tune", "test_eval_resume",
    "test_package_runs", "test_codegen_sizes", "test_adversarial", "test_llm_prompts",
    "test_cli_eval", "test_user_compilers", "test_llm_judging", "test_llm_cli", "test_foreign",
    "test_fault_storm", "test_honesty",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts by LONGEST; what is not there stays behind, in its order."""
    items.sort(key=lambda i: (*LONGEST, i.path.stem).index(i.path.stem))


@pytest.fixture(autouse=True, scope="session")
def no_winners_of_this_user(tmp_path_factory):
    """Parameters must not follow from what someone tuned on this machine."""
    os.environ["MKGEN_WINNERS"] = str(tmp_path_factory.mktemp("winners"))


@pytest.fixture(autouse=True, scope="session")
def what_this_session_saw(tmp_path_factory):
    """Records of tests are no records of this user's."""
    os.environ["MKGEN_STATE"] = str(tmp_path_factory.mktemp("state"))
