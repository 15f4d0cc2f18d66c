"""The page needs nothing beside it and lets nothing through."""

from html.parser import HTMLParser
from typing import Any

from agentkit import Answer
from agentkit.answers import Citation
from agentkit.evaluation.page import page
from agentkit.evaluation.report import Report, figures, retriever_figures
from agentkit.evaluation.runner import Outcome
from tests.evaluation.made import chunk, hit, question

ATTACK = "</details><script>alert(1)</script>\"'><img src=http://x onerror=x>"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[Any] = []
        self.seen: set[Any] = set()
        self.attributes: list[Any] = []

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: Any, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: Any) -> None:
        assert self.open.pop() == tag


def _report() -> Report:
    asked = [
        question([(ATTACK, ATTACK)], id=ATTACK, facts=((ATTACK,),), language=ATTACK),
        question(id="none", kind="unanswerable"),
    ]
    asked[0] = asked[0].model_copy(update={"question": ATTACK})
    cited = Citation(ATTACK, chunk(ATTACK, ATTACK, ATTACK), ATTACK, True)
    outcomes = [
        Outcome(asked[0], (hit(ATTACK, ATTACK),), (1,), Answer(ATTACK, (cited,)), ATTACK),
        Outcome(asked[1], (), (), Answer("no", stop_reason="refused")),
    ]
    ranks: dict[str, list[tuple[int | None, ...]]] = {"dense": [(None,), ()], "hybrid": [(1,), ()]}
    return Report(
        settings={"model": ATTACK},
        depth=10,
        outcomes=outcomes,
        figures=figures(outcomes, 10),
        rankings=ranks,
        retrievers=retriever_figures(asked, ranks, 10),
    )


def test_what_comes_from_outside_is_escaped_and_the_page_is_whole() -> None:
    tags = _Tags()
    tags.feed(page(_report()))
    assert tags.open == []
    assert {"details", "table", "svg", "polyline"} <= tags.seen
    assert not {"script", "img", "link", "iframe"} & tags.seen
    assert not [a for a in tags.attributes if a[0] in ("src", "href", "onerror")]


def test_a_report_without_any_place_or_fact_is_still_a_page() -> None:
    lone = Outcome(question(id="none", kind="unanswerable"), (), ())
    assert "</html>" in page(Report({}, 10, [lone], figures([lone], 10)))
