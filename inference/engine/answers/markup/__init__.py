"""Reasoning and calls of tools in what a model writes: pure, without torch, and the same for streams and whole answers.

`parser.py` is fed with text and tokens and gives back `pieces.py`; `lexer.py` finds the markers, `reasoning.py` and
`speech.py` hold what is no call, `call_reader.py` a call until it is one, `cut_calls.py` says what one is that was cut
before that. What stands within a call is told apart in `bodies.py`, and read by a module for each form. Which family
writes how is declared in `inference/engine/families.py`.
"""

from inference.engine.answers.markup.coercion import Schemas
from inference.engine.answers.markup.cut_calls import Kept
from inference.engine.answers.markup.parser import Parser
from inference.engine.answers.markup.pieces import Arguments, Begun, Kind, Piece, Said

__all__ = ["Arguments", "Begun", "Kept", "Kind", "Parser", "Piece", "Said", "Schemas"]
