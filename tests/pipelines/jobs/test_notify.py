"""Notices reach a webhook and a mailbox, never stop a pipeline, and never give a secret away."""

from __future__ import annotations

import logging

import pytest

from forecasting.errors import ConfigError
from pipelines.config import ScheduleConfig
from pipelines.jobs.notify import (
    SMTP_VARIABLE,
    WEBHOOK_VARIABLE,
    Notice,
    check_addresses,
    mail_target,
    notify,
)
from tests.pipelines.sinks import TOKEN, Hook, Mailbox, smtp

REFUSED = Notice(("refused",), "demand", "version 7 refused: mase 1.2", {"version": 7, "run": None})


def test_a_webhook_gets_text_for_people_and_fields_for_programs(hook: Hook) -> None:
    assert notify(REFUSED, ScheduleConfig(webhook=hook.url)) == []
    (body,) = hook.bodies
    assert body["event"] == "refused"
    assert body["model"] == "demand"
    assert body["version"] == 7
    assert "version 7 refused" in body["text"]
    assert "run" not in body


def test_mail_goes_to_every_address(mailbox: Mailbox) -> None:
    assert notify(REFUSED, ScheduleConfig(smtp=smtp(mailbox))) == []
    (letter,) = mailbox.letters
    assert "Subject: [gatecast] demand: refused" in letter
    assert "To: a@example.org, b@example.org" in letter
    assert "version: 7" in letter


def test_only_events_asked_for_are_sent(hook: Hook) -> None:
    assert notify(REFUSED, ScheduleConfig(webhook=hook.url, notify=("failed",))) == []
    assert notify(Notice((), "demand", "nothing new"), ScheduleConfig(webhook=hook.url)) == []
    assert hook.bodies == []
    both = Notice(("refused", "drift"), "demand", "the data moved")
    assert notify(both, ScheduleConfig(webhook=hook.url, notify=("drift",))) == []
    assert hook.bodies[0]["events"] == ["refused", "drift"]


def test_addresses_may_come_from_the_environment(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK_VARIABLE, hook.url)
    assert notify(REFUSED, ScheduleConfig()) == []
    assert len(hook.bodies) == 1


def test_a_server_that_stumbles_is_asked_again(hook: Hook) -> None:
    hook.statuses = [503, 429, 204]
    assert notify(REFUSED, ScheduleConfig(webhook=hook.url), pause=0.01) == []
    assert len(hook.bodies) == 3


@pytest.mark.parametrize("status", [301, 400, 404])
def test_an_answer_that_will_not_change_is_not_asked_again(hook: Hook, status: int) -> None:
    hook.statuses = [status]
    (problem,) = notify(REFUSED, ScheduleConfig(webhook=hook.url), pause=0.01)
    assert str(status) in problem
    assert len(hook.bodies) == 1


def test_a_dead_address_comes_back_as_a_sentence_and_the_other_is_still_told(
    mailbox: Mailbox,
) -> None:
    config = ScheduleConfig(webhook=f"http://127.0.0.1:1/{TOKEN}", smtp=smtp(mailbox))
    (problem,) = notify(REFUSED, config, pause=0.01)
    assert problem.startswith("webhook to 127.0.0.1 not sent after 3 attempts")
    assert len(mailbox.letters) == 1


def test_no_secret_is_logged_or_told(
    hook: Hook, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mailbox.password, mailbox.accepts = True, False
    hook.statuses = [500]
    config = ScheduleConfig(webhook=hook.url, smtp=smtp(mailbox, f"me:{TOKEN}@"))
    problems = notify(REFUSED, config, pause=0.01)
    dead = ScheduleConfig(
        webhook=f"http://user:{TOKEN}@127.0.0.1:1/{TOKEN}",
        smtp=f"smtps://me:{TOKEN}@127.0.0.1:1/?from=a@b.c&to=d@e.f",
    )
    problems += notify(REFUSED, dead, pause=0.01)
    assert len(problems) == 4
    assert "the user or the password is wrong" in problems[1]
    told = "\n".join(problems) + caplog.text + repr(mail_target(smtp(mailbox, f"me:{TOKEN}@")))
    assert TOKEN not in told


@pytest.mark.parametrize(
    ("webhook", "mail", "said"),
    [
        (f"ftp://x/{TOKEN}", None, "schedule.webhook: not a URL"),
        (TOKEN, None, "schedule.webhook: not a URL"),
        (None, f"smtp://me:{TOKEN}@host:nan/?from=a@b.c&to=d@e.f", "the port is no number"),
        (None, f"http://{TOKEN}", "not an SMTP address"),
        (None, f"smtp://me:{TOKEN}@host", "both from= and to= are needed"),
        (None, f"smtp://me:{TOKEN}@host/?from=a&to=b@c.d", "must be e-mail addresses"),
        (None, f"smtp://me:{TOKEN}@host/?from=a@b.c&to=d@e.f&tls=none", "in the clear"),
        (None, f"smtp://me:{TOKEN}@host/?from=a@b.c&to=d@e.f&tls=maybe", "tls= must be"),
        (None, f"smtp://me:{TOKEN}@host/?from=a@b.c%0d%0aBcc:x@y.z&to=d@e.f", "e-mail addresses"),
    ],
)
def test_unusable_addresses_are_refused_before_a_night_passes(
    webhook: str | None, mail: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        check_addresses(ScheduleConfig(webhook=webhook, smtp=mail))
    assert TOKEN not in str(caught.value)


def test_passwords_travel_encrypted_except_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = "/?from=a@b.c&to=d@e.f"
    remote = mail_target(f"smtp://me:p%40ss@mail.example.org{tail}")
    assert (remote.tls, remote.port, remote.password) == ("starttls", 587, "p@ss")
    assert mail_target(f"smtps://mail.example.org{tail}").port == 465
    assert mail_target(f"smtp://localhost:1025{tail}").tls == "none"
    monkeypatch.setenv(SMTP_VARIABLE, "smtp://nobody")
    with pytest.raises(ConfigError):
        check_addresses(ScheduleConfig())


def test_a_title_cannot_smuggle_headers(mailbox: Mailbox) -> None:
    notice = Notice(("failed",), "demand\r\nBcc: spy@example.org", "it\r\n.\r\nfailed")
    assert notify(notice, ScheduleConfig(smtp=smtp(mailbox))) == []
    (letter,) = mailbox.letters
    assert "\nBcc:" not in letter
