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
    ├── CloudError                   HF3001  the cloud refused; nothing was made
    │   └── OutcomeUnknown           HF3002  sent, but no answer: it may have been done
    └── StoreError                   HF4001
        ├── StoreUntrusted           HF4002  missing, unreadable or of another schema: nothing is written
        ├── StoreNotWritable         HF4003  no space, no right, another user
        └── StoreLocked              HF4004  another call holds the lock for too long

Each has a stable `code`, a `hint` (what to do now) and `retryable`. A message says what happened and to which object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from hfcore.models import Fault, Problem


class HfcoreError(Exception):
    """Base of all errors that hfcore raises on purpose.

    Args:
        message: What happened, and to which request, machine, template or file.
        hint: What to do now; empty if the message says it all.
    """

    code: ClassVar[str] = "HF1000"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InputError(HfcoreError):
    """What was asked for can't be understood, or can't be served as asked."""

    code = "HF1001"


class UnknownTemplate(InputError):
    """No usable template has this id."""

    code = "HF1002"


class CapacityExceeded(InputError):
    """The template's `maxNumber` leaves no room for the request now."""

    code = "HF1003"
    retryable = True


class TemplateSlowedDown(InputError):
    """The machines of the template's last requests all died at their start: it is asked for again after a pause."""

    code = "HF1004"
    retryable = True


class ConfigError(HfcoreError):
    """A settings file, a template file or a folder is wrong or missing."""

    code = "HF1101"


class TemplateError(ConfigError):
    """A template has errors, each of them in `problems`."""

    code = "HF1102"

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class PluginError(HfcoreError):
    """A provider plug-in can't do what is asked."""

    code = "HF2001"


class UnknownProvider(PluginError):
    """No installed plug-in serves this provider API."""

    code = "HF2041"


class PluginUnusable(PluginError):
    """The plug-in of this provider API is broken, conflicting, disabled, or made for another hook version."""

    code = "HF2042"


class PluginCallError(PluginError):
    """A hook raised an unexpected exception, or returned the wrong type; names plug-in, version and hook."""

    code = "HF2043"


class CloudError(HfcoreError):
    """The cloud refused, and has made nothing; `fault` names its code.

    Plug-ins raise it when a whole call has failed. A fault beside success is data, never an exception.
    """

    code = "HF3001"

    def __init__(self, fault: Fault, *, hint: str = "") -> None:
        super().__init__(str(fault), hint=hint)
        self.fault = fault


class OutcomeUnknown(CloudError):
    """A mutating call was sent and not answered: it may have been done. The intent stays open and is resumed."""

    code = "HF3002"
    retryable = True


class StoreError(HfcoreError):
    """The store can't be used."""

    code = "HF4001"


class StoreUntrusted(StoreError):
    """The store is missing, unreadable or of another schema. Nothing is written, swept or reported as gone."""

    code = "HF4002"


class StoreNotWritable(StoreError):
    """The store can't be written: no space, no right, or owned by another user."""

    code = "HF4003"


class StoreLocked(StoreError):
    """Another call has held the store's lock for longer than the lock's time limit."""

    code = "HF4004"
    retryable = True
