from dataclasses import dataclass

from embedded.engine.fault import Fault, Hit
from embedded.engine.parameters import one_of

_THOUGHTS = (" So", ' it begins with {"title": "x', " and so on")


@dataclass(kw_only=True)
class ThoughtsInContent(Fault):
    """The content begins with thoughts, as from an engine without a reasoning parser, with half a JSON object in them:
    `how` is one of tagged (`<think>…</think>`), unopened (the opening tag is in the prompt's template), unclosed. The
    usage does not count them.
    """

    how: str = one_of("tagged", "unopened", "unclosed")

    async def before(self, hit: Hit, position: int) -> None:
        if position != 0:
            return
        hit.mark()
        for text in (
            *(() if self.how == "unopened" else ("<think>",)), *_THOUGHTS,
            *(() if self.how == "unclosed" else ("</think>",)),
        ):  # fmt: skip
            hit.shape.token(text)


FAULT = ThoughtsInContent
