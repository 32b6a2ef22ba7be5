"""The prefix tree: every distinct prefix once, every sequence along its path."""

import struct
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.trunks import Stretch, prefix_tree

# few values, so that prefixes are shared; among them some that are equal, or not, but for the bits
RATES = st.sampled_from([0.1, np.nextafter(0.1, 1), 0.0, -0.0, float("nan")])
SEQUENCES = st.lists(st.lists(RATES, max_size=8), min_size=1, max_size=8)


def bits(rates):
    return tuple(struct.pack("<d", rate) for rate in rates)


def walk(tree):
    """Every stretch, depth first."""
    yield tree
    for branch in tree.branches:
        yield from walk(branch)


@given(SEQUENCES)
def test_it_trains_every_distinct_prefix_once(sequences):
    prefixes = {bits(s)[: i + 1] for s in sequences for i in range(len(s))}
    tree = prefix_tree(sequences)
    assert tree.updates == len(prefixes)
    assert tree.updates == sum(s.stop - s.start for s in walk(tree))
    assert tree.updates + tree.saved == sum(map(len, sequences))


@given(SEQUENCES)
def test_the_stretches_on_its_path_make_up_each_sequence(sequences):
    stretches = list(walk(prefix_tree(sequences)))
    for run, sequence in enumerate(sequences):
        path = [s for s in stretches if run in s.runs]
        assert path[0].start == 0
        assert path[-1].stop == len(sequence)
        assert all(one.stop == other.start for one, other in pairwise(path))
    for s in stretches:
        assert len({bits(sequences[run])[s.start : s.stop] for run in s.runs}) == 1


@given(SEQUENCES)
def test_it_branches_only_where_runs_part_or_end_and_keeps_their_order(sequences):
    tree = prefix_tree(sequences)
    assert tree.runs == tuple(range(len(sequences)))
    for s in walk(tree):
        assert list(s.runs) == sorted(s.runs)
        assert [b.runs[0] for b in s.branches] == sorted(b.runs[0] for b in s.branches)
        assert all(b.stop > b.start == s.stop for b in s.branches)
        ended = [run for run in s.runs if len(sequences[run]) == s.stop]
        assert sorted(ended + [r for b in s.branches for r in b.runs]) == list(s.runs)
        assert ended or len(s.branches) > 1


def test_identical_sequences_are_one_stretch():
    tree = prefix_tree([[0.1, 0.2]] * 3)
    assert tree == Stretch(0, 2, (0, 1, 2))
    assert (tree.updates, tree.saved) == (2, 4)


def test_a_shorter_horizon_ends_on_the_way():
    tree = prefix_tree([np.array([0.1, 0.2, 0.3]), [0.1]])
    assert tree == Stretch(0, 1, (0, 1), (Stretch(1, 3, (0,)),))
    assert (tree.updates, tree.saved) == (3, 1)


def test_nothing_shared_begins_with_an_empty_stretch():
    tree = prefix_tree([[0.1, 0.2], [0.2, 0.2], [0.3]])
    branches = (Stretch(0, 2, (0,)), Stretch(0, 2, (1,)), Stretch(0, 1, (2,)))
    assert tree == Stretch(0, 0, (0, 1, 2), branches)
    assert (tree.updates, tree.saved) == (5, 0)


def test_cooldowns_leave_the_constant_rate_one_after_another():
    early, late, constant = [1.0, 0.5, 0.0], [1.0, 1.0, 0.5], [1.0, 1.0, 1.0]
    rest = Stretch(1, 2, (1, 2), (Stretch(2, 3, (1,)), Stretch(2, 3, (2,))))
    tree = prefix_tree([early, late, constant])
    assert tree == Stretch(0, 1, (0, 1, 2), (Stretch(1, 3, (0,)), rest))
    assert (tree.updates, tree.saved) == (6, 3)


def test_rates_that_are_nearly_equal_part():
    assert prefix_tree([[0.3], [0.1 + 0.2]]).saved == 0
    assert prefix_tree([[0.0], [-0.0]]).saved == 0
