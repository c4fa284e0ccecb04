"""The shipped plans in the simulator: 2,000 seeds of every scenario, and every mutant caught.

Keepers work for a minute of simulated time, which takes ten times as long: 250 seeds of theirs.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS
from .run import run_seeds
from .scenario import SCENARIOS
from .subject import Patch, nothing_changed, patched, shipped

SEEDS = 2_000
SEEDS_OF_KEEPERS = 250
IN_CONTRACT = [name for name, scenario in SCENARIOS.items() if not scenario.residue]
OUT_OF_CONTRACT = [name for name, scenario in SCENARIOS.items() if scenario.residue]


@pytest.mark.parametrize("name", IN_CONTRACT)
def test_promises_hold(name):
    """No seed of a scenario within the contract breaks a promise."""
    seeds = SEEDS_OF_KEEPERS if name.startswith("upkeep") else SEEDS
    row = run_seeds(shipped(), name, 1, seeds)

    assert row.runs == seeds
    assert row.violations == {}, f"replay with: scripts/simulate --replay {name} SEED"


@pytest.mark.parametrize("name", OUT_OF_CONTRACT)
def test_what_is_not_promised_is_known(name):
    """Outside of the contract what is lost is what the documentation says, and nothing else."""
    row = run_seeds(shipped(), name, 1, SEEDS)

    assert row.broken == {}
    assert set(row.violations) == SCENARIOS[name].residue


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name):
    """A plan with one rule broken is caught by its scenario, on seeds that the shipped plan passes."""
    mutant = MUTANTS[name]

    with nothing_changed():
        caught = run_seeds(mutant.subject(), mutant.scenario, 1, SEEDS, enough=1)

    assert caught.broken, f"no seed of {mutant.scenario} noticed"
    assert run_seeds(shipped(), mutant.scenario, 1, caught.runs).broken == {}


def test_a_patch_that_fits_nowhere_is_refused():
    """A mutant whose text is no longer in the source fails loudly, rather than run the shipped code."""
    with pytest.raises(AssertionError, match="stands 0 times"):
        patched([Patch("memsession.plans.save", "no such text", "")])


def test_a_patch_of_a_module_that_is_not_copied_is_refused():
    """A mutant of a module that the plans do not import fails loudly."""
    with pytest.raises(AssertionError, match="not imported"):
        patched([Patch("memsession.plans.nowhere", "a", "b")])


def _traces(hash_seed: str) -> str:
    """A fingerprint of one run of every scenario, made in another interpreter."""
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.simulation.run import SCENARIOS\n"
        "from tests.simulation.subject import shipped\n"
        "for scenario in SCENARIOS.values():\n"
        "    trace = []\n"
        "    scenario.run(shipped(), 7, trace)\n"
        "    print(scenario.name, *trace, sep='\\n')\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    )
    assert len(done.stdout) > 10_000
    return hashlib.sha256(done.stdout).hexdigest()


def test_runs_repeat():
    """The same seed gives the same events in another interpreter with another hash seed."""
    assert _traces("1") == _traces("2")
