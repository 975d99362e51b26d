"""Words from outside stay in their place when they are shown."""

from __future__ import annotations

from wardround.client.plain import one_line, plain


def test_foreign_words_are_one_line_and_hide_nothing() -> None:
    forged = "A study\n\nWhat was checked here\nok  the ethics board"
    assert one_line(forged) == "A study What was checked here ok the ethics board"
    assert one_line("杉 ward") == "杉 ward", "the control: letters of any script pass"
    for hidden in ("\u3164", "\u2800", "\u200b", "\u202e", "\x1b"):
        assert plain(f"a{hidden}b") == "a\N{REPLACEMENT CHARACTER}b"
