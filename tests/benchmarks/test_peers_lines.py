"""Which lines of a contender count as the user's."""

from __future__ import annotations

from textwrap import dedent

import pytest

from benchmarks import peers_lines
from benchmarks.peers_lines import Lines, count
from benchmarks.peers_plan import CONTENDERS, tuned

PLAIN = dedent(
    """
    class Plain:
        def forward(self, images):
            # Not a line.

            return self.network(images)


    def constant(task):
        module = Plain(task)
        trainer = Trainer(epochs=3)
        trainer.fit(module)
        return module
    """
)


def counted(body: str) -> Lines:
    source = "def contender(task):\n" + "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    return count(source, "contender", PLAIN)


def test_the_plain_set_up_adds_nothing_and_has_its_module():
    assert count(PLAIN, "constant", PLAIN) == Lines(added=0, total=3 + 3)


def test_a_changed_line_and_an_import_are_added():
    body = """
        from package import Cycle

        # What it does.
        module = Plain(task)
        trainer = Trainer(epochs=3, callbacks=[Cycle()])
        trainer.fit(module)
        return module
    """
    assert counted(body) == Lines(added=2, total=4 + 3)


def test_the_lines_of_a_class_within_count_and_its_returns_do():
    body = """
        class Cycled(Plain):
            def optimizers(self):
                return 1
        module = Cycled(task)
        trainer = Trainer(epochs=3)
        trainer.fit(module)
        return module
    """
    # Two lines of the plain set-up are kept.
    assert counted(body) == Lines(added=4, total=6 + 3)


def test_a_loop_of_its_own_needs_no_module():
    body = """
        learner = Learner(task)
        learner.fit(
            epochs=3,
        )
        return lambda images: learner(images)
    """
    assert counted(body) == Lines(added=4, total=4)


def test_what_a_body_does_after_its_last_assignment_counts():
    assert counted("Learner(task).fit(3)") == Lines(added=1, total=1)


def test_a_name_that_is_not_there():
    with pytest.raises(ValueError, match="'absent': no such function"):
        count(PLAIN, "absent", PLAIN)


def test_the_contenders_are_found_without_their_packages():
    found = {each.source.partition(":")[2]: peers_lines.of(each.source) for each in CONTENDERS}
    assert found["constant"] == Lines(0, 14)
    assert found["one_cycle_ours"] == Lines(2, 15)
    assert found["one_cycle_torch"] == Lines(7, 20)
    assert found["snapshots_torchensemble"] == Lines(4, 4)


def test_text_is_all_of_a_contender_and_no_more():
    told = peers_lines.text("peers_contenders:constant").splitlines()
    assert told[0] == "def constant(task: Task) -> Scores:"
    assert told[-1] == "    return module"


def test_no_rate_is_chosen_for_ours():
    sources = {each.source.partition(":")[2]: each for each in CONTENDERS}
    assert [sources[name].ours for name in tuned()] == [False] * 5
