"""Own every error that hfcore raises on purpose.

    HfcoreError                      code    what it means
    ├── InputError                   HF1001  what Host Factory, or a person, asked for can't be understood or served
    │   ├── UnknownTemplate          HF1002
    │   ├── CapacityExceeded         HF1003  the template's maxNumber leaves no room
    │   └── TemplateSlowedDown       HF1004  the template's machines keep dying at their start
    ├── ConfigError                  HF1101  a settings file or folder is wrong
    │   └── TemplateError            HF1102  a template has errors
    ├── PluginError                  HF2001
    │   ├── UnknownProvider          HF2041  no plug-in of that name
    │   ├── PluginUnusable           HF2042  broken, conflicting, disabled, or made for another hook version
    │   └── PluginCallError          HF2043  a hook raised what it should not, or returned the wrong type
    ├── CloudError                   HF3001  the cloud refused, or can't be asked; nothing was made
    │   └── OutcomeUnknown           HF3002  sent, but no answer: it may have been done
    ├── StoreError                   HF4001
    │   ├── StoreUntrusted           HF4002  missing, unreadable or of another schema: nothing is written
    │   ├── StoreNotWritable         HF4003  no space, no right, another user
    │   └── StoreLocked              HF4004  another call holds the lock for too long
    ├── Bug                          HF9001  a fault of hfcore's own
    └── Interrupted                  HF9002  ended from outside

Each has a stable `code`, a `hint` (what to do now) and `retryable`. A message says what happened and to which object.
Of the code alone, the first sentence of the class says what it means, `why` how that comes, and `remedy` what to do:
`hfcore explain` and docs/errors.md are made of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.models import Fault, Problem


_LONGEST_WORD = 80
_BETWEEN = dict.fromkeys(map(ord, "._-"))


class HfcoreError(Exception):
    """Hfcore refuses for a reason of its own; base of all errors that it raises on purpose.

    Args:
        message: What happened, and to which request, machine, template or file.
        hint: What to do now; empty if the message says it all.
    """

    code: ClassVar[str] = "HF1000"
    why: ClassVar[str] = "no narrower code says more; the message does"
    remedy: ClassVar[str] = "read the message"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


def told(error: BaseException) -> str:
    """Give an error's class, and its text where it is ours or Python's own: a library's may hold what was answered."""
    name, plain = word(type(error).__name__), isinstance(error, HfcoreError) or type(error).__module__ == "builtins"
    return f"{name}: {error}" if plain else name


def word(text: object) -> str:
    """Give a code or the name of a type, or `?` where it can't be one: a plug-in may make them of anything."""
    name = str(text)
    fits = len(name) <= _LONGEST_WORD and name.isascii() and name.translate(_BETWEEN).isalnum()
    return name if fits else "?"


class InputError(HfcoreError):
    """What was asked for can't be understood, or can't be served as asked."""

    code = "HF1001"
    why = (
        "a document that is no JSON, lacks a field or names what is not there; a count or an id that can't "
        "be; nobody agreed to what can't be undone"
    )
    remedy = "correct the input; two live machines of one name need their `machineId`"


class UnknownTemplate(InputError):
    """No usable template has this id."""

    code = "HF1002"
    why = "no template file of the instance has it, or it was removed after Host Factory had read the list"
    remedy = "`hfcore templates list`, and correct the id"


class CapacityExceeded(InputError):
    """The template's `maxNumber` leaves no room for the request now."""

    code = "HF1003"
    why = "the units of its live machines and open requests come near to `maxNumber`"
    remedy = "return machines, or raise `maxNumber`"
    retryable = True


class TemplateSlowedDown(InputError):
    """The machines of the template's last requests all died at their start: it is asked for again after a pause."""

    code = "HF1004"
    why = (
        "three of its requests or more in a row have lost every machine at the start: the image, its start-up "
        "script or the network is wrong"
    )
    remedy = (
        "nothing: it is asked again after the pause that is named, 1 minute at first and 10 at most; look at "
        "the image, its start-up script and the reason that is told"
    )
    retryable = True


class ConfigError(HfcoreError):
    """A settings file, a template file or a folder is wrong or missing."""

    code = "HF1101"
    why = (
        "a file is missing or can't be parsed, a setting has a value that it may not have, or nothing names "
        "the provider instance"
    )
    remedy = "correct the file that is named; `hfcore config show`"


class TemplateError(ConfigError):
    """A template has errors, each of them in `problems`."""

    code = "HF1102"
    why = "a field is missing or wrong, or its API can't honour it: a request would mean something else than asked"
    remedy = "`hfcore templates validate`"

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class PluginError(HfcoreError):
    """A provider plug-in can't do what is asked."""

    code = "HF2001"
    why = "its plug-in has no hook for it, or what it needs is not installed"
    remedy = "`hfcore plugins list`"


class UnknownProvider(PluginError):
    """No installed plug-in serves this provider API."""

    code = "HF2041"
    why = "its distribution is not installed in the environment that the scripts name, or `providerApi` is misspelt"
    remedy = "install it, or correct `providerApi`"


class PluginUnusable(PluginError):
    """The plug-in of this provider API is broken, conflicting, disabled, or made for another hook version."""

    code = "HF2042"
    why = (
        "it does not import, two distributions claim its name, a setting disables it, or hfcore and it are of "
        "different ages"
    )
    remedy = "`hfcore plugins list` has the reason, `hfcore plugins check NAME` all that it lacks"


class PluginCallError(PluginError):
    """A hook raised an unexpected exception, or returned the wrong type; names plug-in, version and hook."""

    code = "HF2043"
    why = "a fault in the code of the plug-in"
    remedy = "report it to the plug-in's makers; `HFCORE_TRACE_PLUGINS=1` traces its hooks"


class CloudError(HfcoreError):
    """The cloud refused, or could not be asked by these settings, and has made nothing; `fault` names its code.

    Plug-ins raise it when a whole call has failed. A fault beside success is data, never an exception.
    """

    code = "HF3001"
    why = "rights, quota, capacity, or a parameter that the cloud does not take"
    remedy = "its own code is in the message"

    def __init__(self, fault: Fault, *, hint: str = "") -> None:
        super().__init__(str(fault), hint=hint)
        self.fault = fault


class OutcomeUnknown(CloudError):
    """A mutating call was sent and not answered: it may have been done. The intent stays open and is resumed."""

    code = "HF3002"
    why = "the connection broke off, or the call's time was over, before the answer came"
    remedy = "nothing: the next call goes on with it"
    retryable = True


class StoreError(HfcoreError):
    """The store can't be used."""

    code = "HF4001"
    why = "the message names the file or the lock"
    remedy = "read the message"


class StoreUntrusted(StoreError):
    """The store is missing, unreadable or of another schema. Nothing is written, swept or reported as gone."""

    code = "HF4002"
    why = "a file was removed, damaged or restored from another time, or a newer hfcore has written it"
    remedy = "`hfcore store check`, then `hfcore store repair`; nothing was changed"


class StoreNotWritable(StoreError):
    """The store can't be written: no space, no right, or owned by another user."""

    code = "HF4003"
    why = "the disk is full or read-only, or the folder belongs to another user"
    remedy = "free space, rights, or run as the folder's owner"


class StoreLocked(StoreError):
    """Another call has held the store's lock for longer than the lock's time limit."""

    code = "HF4004"
    why = "a process of this instance hangs, or the file system's locks do"
    remedy = "look for the process that is named"
    retryable = True


class Bug(HfcoreError):
    """Something happened that hfcore's code did not expect; never raised, an answer alone names it."""

    code = "HF9001"
    why = "a bug in hfcore; what had been begun is in the journal"
    remedy = "report it with the log"


class Interrupted(HfcoreError):
    """The call was ended from outside, by a signal; never raised, an answer alone names it."""

    code = "HF9002"
    why = "Host Factory's time limit, a person or a shutdown"
    remedy = "nothing: what was begun is stored, and is gone on with"
    retryable = True


CODES: Mapping[str, type[HfcoreError]] = {
    kind.code: kind for kind in tuple(vars().values()) if isinstance(kind, type) and issubclass(kind, HfcoreError)
}
"""Every error by its code."""


def meaning(kind: type[HfcoreError]) -> str:
    """Say in half a sentence what an error means, whatever it happened to."""
    said = (kind.__doc__ or "").partition("\n")[0]
    return said.partition(".")[0].partition(";")[0]
