"""What of a request decides whether and how its answer can go on elsewhere?"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asked for, as far as a continuation depends on it.

    Attributes:
        chat: whether it is a chat; else a completion.
        obstacle: why its answer can't go on once text was delivered, in words for the client: structured output,
            ``logprobs``, ``n`` above 1, several prompts, ``suffix``, ...; empty where it can.
        stops: the stop strings, empty ones left out.
        keeps_stop: whether a stop string that was met is part of the answer (vLLM's ``include_stop_str_in_output``).
        limits: those of ``max_tokens``, ``max_completion_tokens`` that are there, with their values.
        min_tokens: vLLM's and SGLang's lower bound; None where absent.
        wants_usage: whether the client asked for the closing usage event.
        has_tools: whether the model may call tools.
        prefilled: whether the client's own last message is an assistant's, to be gone on with.
        prompt_bytes: about how large the prompt is, for judging whether a context can hold it.
    """

    chat: bool
    obstacle: str = ""
    stops: tuple[str, ...] = ()
    keeps_stop: bool = False
    limits: tuple[tuple[str, int], ...] = ()
    min_tokens: int | None = None
    wants_usage: bool = False
    has_tools: bool = False
    prefilled: bool = False
    prompt_bytes: int = 0

    @property
    def most_tokens(self) -> int | None:
        """The smallest of the limits; None where there is none."""
        return min((value for _name, value in self.limits), default=None)
