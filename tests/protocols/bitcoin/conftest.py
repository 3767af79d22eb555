"""The independent implementation that addresses, keys and transactions are compared with."""

import gc
import importlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "vectors" / "sv2"


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModuleType]:
    """Imports a module of bitcoinlib, which writes files and warns while it is imported."""
    os.environ["BCL_DATA_DIR"] = str(tmp_path_factory.mktemp("bitcoinlib"))

    def load(name: str) -> ModuleType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(f"bitcoinlib.{name}")
            gc.collect()
        return module

    return load


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Reads one of the Stratum V2 vector files."""
    return lambda name: json.loads((VECTORS / name).read_text())
