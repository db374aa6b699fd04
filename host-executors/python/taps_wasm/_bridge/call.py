"""The engine call: what a worker executes, pickled by value.

Nothing of taps-wasm is installed on an engine's workers, so what is submitted
carries the shim's text with it. It is loaded once per worker process and found
again by its digest::

    Sources(texts) --pickle--> eval("modules.get(name) or load") --> Call

``Call`` pickles as that expression and compressed text: no code objects, so the
worker may have another Python version than the bridge, and pickling it costs
microseconds where a function by value costs a millisecond. Engines that insist
on a function get one from ``function``.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from typing import Any, Callable, Dict, Mapping

# Evaluated where a call arrives, with the globals {name, boot, texts}.
_EXPRESSION = "(__import__('sys').modules.get(name) or exec(boot) or __import__('sys').modules[name]).call"

# Executed where a call first arrives. A module is registered only when it is
# whole, and the first one registered wins: two threads may come here at once.
# The shim itself is loaded at the first call, not on arrival: an engine's
# scheduler unpickles calls that it will never run.
_BOOT = '''
def _load(name, boot, texts):
    import sys, types, zlib
    def module(name, text, **given):
        made = types.ModuleType(name)
        made.__dict__.update(given)
        exec(compile(zlib.decompress(text).decode("utf-8"), "<" + name + ">", "exec"), made.__dict__)
        return sys.modules.setdefault(name, made)
    def shim():
        loaded = sys.modules.get(name + "_worker")
        if loaded is None:
            given = {}
            for part, text in texts:
                given[part] = loaded = module(name + part, text, **given)
        return loaded
    def pickled(suffix, **more):
        return eval, (EXPRESSION + suffix, dict(more, name=name, boot=boot, texts=texts))
    class Call:
        """The engine call; see taps_wasm/_bridge/call.py."""
        __name__ = __qualname__ = "taps_wasm_call"
        def __call__(self, settings, header, package, attempts, *values):
            return shim().run(settings, header, package, attempts, values)
        def __reduce__(self):
            return pickled("")
        def bind(self, *given):
            return Bound(given)
        def bind_package(self, *given):
            return WithPackage(given)
        def part(self, part):
            return Part(part)
        def fixed(self, settings):
            return Fixed(settings)
    class Fixed:
        """The call for one run: its settings are inside, and ``work`` is (header, attempts), packed or not."""
        __name__ = __qualname__ = "taps_wasm_call"
        def __init__(self, settings):
            self.settings = settings
        def __call__(self, work, package=None, *values, **_):
            worker = shim()
            header, attempts = worker.unpacked(work)
            value = worker.run(self.settings, header, package, attempts, values)
            return value if self.settings["keep"] else worker.packed(value)
        def __reduce__(self):
            return pickled(".fixed(settings)", settings=self.settings)
    class Bound:
        """The call with all but the values given: for engines that look into arguments."""
        __name__ = __qualname__ = "taps_wasm_call"
        def __init__(self, given):
            self.given = given
        def __call__(self, *values):
            return shim().run(*self.given, values)
        def __reduce__(self):
            return pickled(".bind(*given)", given=self.given)
    class WithPackage(Bound):
        """The same, and its first value is the package."""
        def __call__(self, package, *values):
            settings, header, attempts = self.given
            return shim().run(settings, header, package, attempts, values)
        def __reduce__(self):
            return pickled(".bind_package(*given)", given=self.given)
    class Part:
        """Another function of the shim, such as `cancel`."""
        def __init__(self, part):
            self.part = self.__name__ = self.__qualname__ = part
        def __call__(self, *arguments):
            return getattr(shim(), self.part)(*arguments)
        def __reduce__(self):
            return pickled(".part(part)", part=self.part)
    made = types.ModuleType(name)
    made.call, made.shim = Call(), shim
    sys.modules.setdefault(name, made)
_load(name, boot, texts)
'''.replace("EXPRESSION", repr(_EXPRESSION))

# For engines that take functions only; a function of __main__ is pickled by value.
_FUNCTION = '''
call = shim = None
def taps_wasm_call(work, package=None, *values):
    global call, shim
    if call is None:
        names = {"name": name, "boot": boot, "texts": texts, "settings": settings}
        call = eval(expression + ".fixed(settings)", names)
        shim = __import__("sys").modules[name].shim()
    value = call(work, package, *values)
    if not settings["keep"]:
        return value
    meta, data = shim.split(value)
    return shim.packed(meta), data
'''


# For engines that send a function as its text: all that it needs is inside it.
_TEXT = """def taps_wasm_call(settings, header, package, attempts, *values):
    names = {names!r}
    return eval({expression!r}, names)(settings, header, package, attempts, *values)
"""


class Sources:
    """The texts that travel with a call: the shim's, and before it those of the modules that it uses, by name."""

    def __init__(self, worker: str, **modules: str) -> None:
        modules["_worker"] = worker
        digest = hashlib.sha256()
        for text in (*modules.values(), _BOOT):
            digest.update(hashlib.sha256(text.encode("utf-8")).digest())
        self._globals: Dict[str, Any] = {
            "name": "taps_wasm_shim_" + digest.hexdigest()[:16],
            "boot": _BOOT,
            "texts": tuple((name, zlib.compress(text.encode("utf-8"), 9)) for name, text in modules.items()),
        }
        self._call: Any = None
        self._shim: Any = None

    @property
    def name(self) -> str:
        """The module name under which a process keeps the shim."""
        return self._globals["name"]

    def call(self) -> Callable[..., Any]:
        """``call(settings, header, package, attempts, *values)`` as an object that pickles by value."""
        if self._call is None:
            self._call = eval(_EXPRESSION, dict(self._globals))  # noqa: S307 - our own constant
        return self._call

    def fixed(self, settings: Mapping[str, Any]) -> Callable[..., Any]:
        """``call(work, package, *values)`` for one run, ``work`` being ``(header, attempts)``, as it is or pickled.

        Its value is ``packed`` where it is not kept.
        """
        return self.call().fixed(dict(settings))  # type: ignore[attr-defined]

    def bind(self, *given: Any) -> Callable[..., Any]:
        """The call with ``settings, header, package, attempts`` given; takes the values."""
        return self.call().bind(*given)  # type: ignore[attr-defined]

    def bind_package(self, *given: Any) -> Callable[..., Any]:
        """The call with ``settings, header, attempts`` given; takes the package and the values."""
        return self.call().bind_package(*given)  # type: ignore[attr-defined]

    def part(self, name: str) -> Callable[..., Any]:
        """A function of the shim, such as ``cancel``, as an object that pickles by value."""
        return self.call().part(name)  # type: ignore[attr-defined]

    def module(self) -> Any:
        """The shim as this process has it."""
        if self._shim is None:
            self.call()
            self._shim = sys.modules[self.name].shim()
        return self._shim

    def function(self, settings: Mapping[str, Any]) -> Callable[..., Any]:
        """``f(work, package, *values)`` as a plain function of ``__main__``.

        ``work`` is ``(header, attempts)``, as it is or pickled. With kept results it returns (meta, data) as two
        values. Its value, or meta, is ``packed``.
        """
        namespace: Dict[str, Any] = {"__name__": "__main__", "expression": _EXPRESSION, "settings": dict(settings)}
        namespace.update(self._globals)
        exec(_FUNCTION, namespace)  # noqa: S102 - our own constant
        return namespace["taps_wasm_call"]

    def text(self) -> str:
        """The call as the text of the function ``taps_wasm_call``; for engines that keep no results."""
        return _TEXT.format(names=self._globals, expression=_EXPRESSION)
