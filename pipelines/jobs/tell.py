"""How a run ended, told to whom the config names: for the scheduler's flows and for the commands.

Each of them tells of its own runs only, and neither starts the other, so nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forecasting.errors import GatecastError
from forecasting.masking import masked
from pipelines.config import ExperimentConfig, ScheduleConfig
from pipelines.jobs.notify import Notice, notify

if TYPE_CHECKING:
    from pipelines.jobs.run import JobResult

LONGEST_LINE = 500


class Teller:
    """Tells of one run.

    Parameters
    ----------
    name
        Of the model; what was named on the command line until the config is known.
    complain
        Gets a sentence about each notice that could not be sent.
    send
        Whether anything is told at all.
    facts
        Kept in the notice of a failure, such as the scheduler's name of the run.
    """

    def __init__(
        self,
        name: str,
        complain: Callable[[str], None],
        *,
        send: bool = True,
        **facts: str,
    ) -> None:
        self.name, self.complain, self.send, self.facts = name, complain, send, facts
        # Before the config is read, the addresses of the environment are known all the same.
        self.settings = ScheduleConfig()

    def by(self, config: ExperimentConfig) -> ExperimentConfig:
        """Go by a config's name and addresses from here on."""
        self.name, self.settings = config.name, config.schedule
        return config

    def tell(self, notice: Notice) -> None:
        """Send a notice; what cannot be sent is complained of and stops nothing."""
        if self.send:
            for problem in notify(notice, self.settings):
                self.complain(problem)

    def ended(self, result: JobResult) -> None:
        """Tell what a job came to, if there is anything to tell."""
        self.tell(result.notice(self.name))

    def failed(self, error: Exception) -> Notice:
        """Tell of an error; the notice, for the log."""
        notice = failure(self.name, error, self.settings, **self.facts)
        self.tell(notice)
        return notice

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Tell of the error that ends the block, and let it go on."""
        try:
            yield
        except BrokenPipeError:  # only the reader of our output has left
            raise
        except Exception as error:  # whatever ends a run is told of, a bug of ours too
            self.failed(error)
            raise


def failure(name: str, error: Exception, settings: ScheduleConfig, **facts: str) -> Notice:
    """The notice of a run that ended with an error."""
    message = (masked(str(error)).strip().splitlines() or ["no message"])[0][:LONGEST_LINE]
    if isinstance(error, TimeoutError):
        line = f"it ran longer than schedule.timeout, {settings.timeout:g} s"
    elif isinstance(error, GatecastError):
        line = message
    else:
        line = f"{type(error).__name__}: {message}"
    return Notice(("failed",), name, f"the run failed: {line}", facts)
