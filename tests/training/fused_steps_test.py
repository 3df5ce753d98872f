"""Steps are grouped so that logs, previews and saves come where the config wants them."""

from hypothesis import given
from hypothesis import strategies as st

from stackgan_jax.training import fused_steps


@given(
    st.integers(0, 50),
    st.integers(1, 60),
    st.integers(1, 12),
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.lists(st.integers(1, 100), max_size=3),
)
def test_dispatches_cover_every_step_and_pass_over_no_boundary(start, steps, together, ends, marks):
    groups = list(fused_steps.groups(start, start + steps, together, ends, marks))
    covered = [step for first, count in groups for step in range(first, first + count)]
    assert covered == list(range(start, start + steps))
    assert {count for _, count in groups} <= {1, together}
    for first, count in groups:
        assert not any((first + i) % every == 0 for i in range(1, count) for every in ends)
        assert not any(first < mark < first + count for mark in marks)
