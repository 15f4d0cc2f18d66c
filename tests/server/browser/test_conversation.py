"""The page in a real browser: asking, streaming, stopping, citations, approvals, sessions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

QUESTION = "When is the archive backed up?"


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")


def wait_for_answer(page: Page) -> None:
    page.get_by_role("button", name="Copy answer").last.wait_for()


def test_an_answer_is_streamed_with_table_code_formula_and_citations(page: Page) -> None:
    ask(page, QUESTION)
    answer = page.locator(".answer")
    expect(answer).to_contain_text("every Sunday")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    wait_for_answer(page)
    expect(answer.locator("table td").first).to_have_text("hot")
    expect(answer.locator("pre .hljs-keyword").first).to_have_text("for")
    expect(answer.locator(".katex-html")).to_have_count(1)
    expect(answer.get_by_role("button", name="Passage 1: Storage").first).to_have_text("1")
    expect(page.get_by_role("status").filter(has_text="The answer is complete.")).to_have_count(1)


def test_the_end_of_a_second_answer_comes_into_view(page: Page) -> None:
    for question in (QUESTION, "Ask the clerk about the pumps"):
        ask(page, question)
        page.get_by_role("button", name="Stop").wait_for()
        page.get_by_role("button", name="Stop").wait_for(state="detached")
    expect(page.get_by_role("button", name="Copy answer").last).to_be_in_viewport()
    expect(page.locator(".question").last).to_be_in_viewport()


def test_an_answer_that_grows_fast_stays_in_view_until_the_reader_scrolls_up(page: Page) -> None:
    ask(page, "Write chapters")
    wait_for_answer(page)
    expect(page.get_by_role("button", name="Copy answer").last).to_be_in_viewport()
    ask(page, "Write chapters again")
    expect(page.locator(".answer").last).to_contain_text("Chapter 9")
    page.locator(".thread").hover()
    page.mouse.wheel(0, -900)
    expect(page.get_by_role("button", name="To the end")).to_be_visible()
    wait_for_answer(page)
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("button", name="To the end")).to_be_visible()


def test_what_is_asked_in_another_tab_is_shown_here_too(page: Page) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    ask(page, "Write a long text")
    expect(other.locator(".answer").last).to_contain_text("word9")
    other.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. What was written is kept.")).to_be_visible()


def test_a_long_question_is_scrolled(page: Page) -> None:
    ask(page, "Write a long text. " + "This is why. " * 400)
    question = page.locator(".question h2")
    expect(question).to_have_attribute("tabindex", "0")
    assert question.evaluate(
        "e => e.clientHeight < innerHeight / 2 && e.scrollHeight > innerHeight"
    )


def test_sentences_without_support_are_marked_with_the_reason(page: Page) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    doubted = page.locator(".unsupported")
    expect(doubted.filter(has_text="takes four").first).to_be_visible()
    expect(page.locator(".unsupported", has_text="every Sunday")).to_have_count(0)
    doubted.filter(has_text="takes four").first.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("Not supported")
    page.locator(".verdict summary").click()
    expect(page.locator(".verdict li").first).to_be_visible()


def test_a_stopped_answer_keeps_what_was_written(page: Page) -> None:
    ask(page, "Write a long text")
    expect(page.locator(".answer")).to_contain_text("word5")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. What was written is kept.")).to_be_visible()
    text = page.locator(".answer").inner_text()
    assert "word5" in text
    assert "word399" not in text
    page.reload()
    expect(page.locator(".answer")).to_contain_text("word5")


def test_an_answer_goes_on_when_the_page_is_loaded_again_in_the_middle(page: Page) -> None:
    ask(page, "Write a long text")
    expect(page.locator(".answer")).to_contain_text("word9")
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("word399")
    words = page.locator(".answer").inner_text().split()
    assert words == [f"word{number}" for number in range(400)]


def test_a_citation_is_previewed_and_opens_its_document_at_the_quote(page: Page) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    chip = page.locator(".cite").first
    chip.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("every Sunday at 03:00")
    chip.click()
    panel = page.get_by_role("complementary")
    quote = panel.locator("mark.quote").first
    expect(quote).to_contain_text("every Sunday at 03:00")
    expect(quote).to_be_in_viewport()
    expect(panel.get_by_role("heading", name="Limits")).to_be_visible()
    page.mouse.move(640, 20)
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_passages_that_were_not_cited_are_listed_too(page: Page) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    more = page.get_by_role("button", name=re.compile("more passages? (was|were) given"))
    before = page.locator(".passage").count()
    more.click()
    assert page.locator(".passage").count() > before
    page.locator(".passage").last.click()
    expect(page.get_by_role("complementary").locator("mark.quote").first).to_be_visible()


def test_a_call_is_approved_with_changed_arguments(page: Page) -> None:
    ask(page, "Delete run 17")
    form = page.get_by_role("form", name="Approval of delete_run")
    run = form.get_by_label("run", exact=False).first
    expect(run).to_have_value("17")
    run.fill("42")
    reason = form.get_by_label("reason", exact=False)
    reason.fill("older\u202e than 90 days")
    expect(form).to_contain_text("With hidden characters: older<U+202E> than 90 days")
    reason.fill("older than 90 days")
    expect(form).not_to_contain_text("hidden characters")
    form.get_by_role("switch").check()
    form.get_by_role("button", name="Allow with changes").click()
    wait_for_answer(page)
    expect(page.locator(".answer")).to_contain_text("run 42 deleted, older than 90 days")
    page.get_by_role("button", name=re.compile("delete_run")).click()
    expect(page.locator(".arguments")).to_contain_text("42")


def test_the_calls_of_a_sub_agent_are_shown_inside_its_call_after_a_reload_too(page: Page) -> None:
    ask(page, "Ask the clerk about the pumps")
    wait_for_answer(page)
    nested = page.locator(".calls .nested")
    expect(nested).to_have_count(1)
    page.reload()
    expect(nested).to_contain_text("count_pumps")
    expect(page.locator(".calls li").nth(-2)).to_contain_text("clerk")
    nested.get_by_role("button").click()
    expect(nested).to_contain_text("4 pumps in the north hall")
    assert nested.bounding_box()["x"] > page.locator(".calls li").nth(-2).bounding_box()["x"]


def test_a_call_is_denied(page: Page) -> None:
    ask(page, "Delete run 17")
    page.get_by_role("button", name="Deny").click()
    wait_for_answer(page)
    expect(page.locator(".call.denied")).to_have_count(1)
    expect(page.locator(".answer")).not_to_contain_text("run 17 deleted")


def test_a_call_that_waits_is_still_there_after_a_reload(page: Page) -> None:
    ask(page, "Delete run 17")
    page.get_by_role("button", name="Allow").wait_for()
    page.reload()
    page.get_by_role("button", name="Allow").click()
    expect(page.locator(".answer")).to_contain_text("run 17 deleted")


def test_an_edited_question_replaces_its_turn_and_the_old_one_is_kept(page: Page) -> None:
    ask(page, "Write the first answer")
    wait_for_answer(page)
    page.locator(".question-row").hover()
    page.get_by_role("button", name="Edit question").click()
    page.locator(".question-editor textarea").fill("Write the second answer")
    page.get_by_role("button", name="Ask again").first.click()
    expect(page.locator(".question")).to_have_text(["Write the second answer"])
    wait_for_answer(page)
    page.get_by_role("link", name="Write the first answer").first.click()
    expect(page.locator(".question")).to_have_text(["Write the first answer"])


def test_a_branch_continues_from_a_turn_in_a_new_session(page: Page) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    before = page.url
    page.get_by_role("button", name="Branch from here").click()
    expect(page).not_to_have_url(before)
    expect(page.locator(".question")).to_have_text([QUESTION])


def test_sessions_are_found_renamed_and_deleted(page: Page) -> None:
    ask(page, "Which zebra crossing is meant?")
    wait_for_answer(page)
    sidebar = page.get_by_role("navigation", name="Conversations")
    sidebar.get_by_role("searchbox").fill("zebra")
    expect(sidebar.locator(".session")).to_have_count(1)
    sidebar.locator(".session").hover()
    sidebar.get_by_role("button", name=re.compile("Actions for")).click()
    page.get_by_role("menuitem", name="Rename").click()
    sidebar.get_by_role("textbox", name="Title").fill("zebra, renamed")
    page.keyboard.press("Enter")
    expect(sidebar.get_by_role("link", name="zebra, renamed")).to_be_visible()
    sidebar.get_by_role("button", name=re.compile("Actions for")).click()
    page.get_by_role("menuitem", name="Delete").click()
    sidebar.get_by_role("button", name="Delete", exact=True).click()
    expect(sidebar.locator(".session")).to_have_count(0)
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()


def test_a_conversation_is_exported(page: Page, tmp_path: Path) -> None:
    ask(page, QUESTION)
    wait_for_answer(page)
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export as Markdown").click()
    download.value.save_as(tmp_path / "session.md")
    assert "every Sunday at 03:00" in (tmp_path / "session.md").read_text(encoding="utf-8")


def test_an_example_is_asked_with_one_click(page: Page) -> None:
    page.get_by_role("link", name="New conversation").click()
    page.get_by_role("button", name=QUESTION, exact=True).click()
    expect(page.locator(".question")).to_have_text([QUESTION])
    wait_for_answer(page)


def test_an_answer_full_of_attacks_runs_and_loads_nothing(page: Page) -> None:
    ask(page, "Show the hostile text")
    wait_for_answer(page)
    answer = page.locator(".answer")
    expect(answer).to_contain_text("styled")
    answer.locator("b").first.hover()
    links = answer.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert all(link.startswith(("http:", "https:", "mailto:")) for link in links)
    forbidden = answer.locator(
        "script, iframe, form, img, video, style, link, base, meta, [onerror]"
    )
    expect(forbidden).to_have_count(0)
    assert page.evaluate("window.attacked") is None
