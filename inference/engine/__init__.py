"""Generation with torch on one device, usable on its own from a script:

from inference.engine import Engine
from inference.events import Text
from inference.requests import GenerationRequest

engine = Engine("cpu")
engine.load("tiny", "path/to/a/folder", progress=print)
question = {"role": "user", "content": "Name three rivers."}
for event in engine.stream(GenerationRequest(id="1", model="tiny", messages=[question], max_tokens=64)):
    if isinstance(event, Text):
        print(event.text, end="", flush=True)
engine.close()
"""

from inference.engine.engine import Engine, ModelStatus
from inference.engine.facts import ModelFacts
from inference.engine.progress import LoadError, Progress
from inference.engine.requests.submissions import Load, Publish

__all__ = ["Engine", "Load", "LoadError", "ModelFacts", "ModelStatus", "Progress", "Publish"]
