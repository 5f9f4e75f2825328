"""What an error of Hydra or OmegaConf means: one line that names the word and the fix."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from sentiment.errors import SentimentError, UsageError, nearest
from sentiment.words import in_quotes

KeysOf = Callable[[Sequence[str]], list[str]]


def explain(error: Exception, overrides: Sequence[str], name: str, keys_of: KeysOf) -> Exception:
    """Turn what Hydra or OmegaConf raised into one line that names the value and the fix.

    Parameters
    ----------
    error : exception
        What was raised.
    overrides : sequence of str
        The words of the command line.
    name : str
        The root config that was composed.
    keys_of : callable
        Gives the keys of the config that some words make.

    Returns
    -------
    Exception
        A `UsageError` for errors of configuration, else ``error`` itself.
    """
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, SentimentError):
        return error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(str(error.missing_cfg_file), list(error.options or ()))
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), str(error).splitlines()[0])
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        words = [word for word in overrides if "." not in word.partition("=")[0]]
        return UsageError(
            f"{' '.join(map(shlex.quote, words))}: a group is given the name of one of its options, as in "
            "model=logreg"
        )
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _refused(error, overrides, name, keys_of)
    return error


def _unknown_option(file: str, options: list[str]) -> UsageError:
    group, _, option = file.rpartition("/")
    if not group:
        return UsageError(
            f"unknown config {option!r}: there is no file {option}.yaml here; name it with its folder"
        )
    return UsageError(
        f"unknown option {group}={option}{nearest(option, options)} (options: {', '.join(options)})"
    )


def _unreadable(override: str, reason: str) -> UsageError:
    key, equals, value = override.partition("=")
    fix = f"; as one text: {shlex.quote(f'{key}={in_quotes(value)}')}" if equals else ""
    if value.startswith("{") or not key.isascii():
        fix = f"; names that a command line cannot hold stand in a config file{fix}"
    return UsageError(
        f"cannot read the override {override!r}: {reason.removeprefix(override).strip()}{fix}"
    )


def _refused(error: Exception, overrides: Sequence[str], name: str, keys_of: KeysOf) -> UsageError:
    """Say what an error of Hydra or OmegaConf, which names keys in many ways, is about."""
    from omegaconf.errors import OmegaConfBaseException

    cause: BaseException = error
    # What stands behind an error of OmegaConf, where a debugger or a tracer runs, is its own
    # message with the places not filled in.
    while cause.__cause__ is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    text = f"{error}\n{cause}"
    if match := re.search(r"Could not override '([^']+)'", text):
        key, at, _ = match[1].partition("@")
        if at:
            return UsageError(f"{match[1]}: options are not put elsewhere here: write {key}=OPTION")
        return _unknown_key(key, overrides, name, keys_of)
    if match := re.search(r"Could not find '([^']+)'", text):
        return _unknown_key(match[1], overrides, name, keys_of)
    if match := re.search(r"Key '([^']+)' not in '(\w+)'|Key '([^']+)' is not in struct", text):
        full = re.search(r"full_key: (\S+)", text)
        return _unknown_key(full[1] if full else (match[1] or match[3]), overrides, name, keys_of)
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        key, _, value = match[1].partition("=")
        return UsageError(
            f"{match[1]}: several values are tried by sentiment sweep; "
            f"one list is written {key}=[{value}], one text '{key}=\"{value}\"'"
        )
    reason = str(cause).splitlines()[0]
    full = re.search(r"full_key: (\S+)", text)
    if isinstance(cause, OmegaConfBaseException) and "Missing mandatory value" in reason:
        reason = f"{reason} (give it: {full[1] if full else 'KEY'}=VALUE)"
    if "Incompatible key type 'NoneType'" in reason:
        reason = f"{reason}: write +{full[1] if full else 'KEY'}.null=VALUE"
    place = f"{full[1]}: " if full and full[1] not in reason else ""
    return UsageError(f"{place}{reason}")


def _unknown_key(key: str, overrides: Sequence[str], name: str, keys_of: KeysOf) -> UsageError:
    """Name the nearest key of the config that the other overrides give."""
    choices = [
        word for word in overrides if "/" not in word and re.fullmatch(r"[\w]+=[\w-]+", word)
    ]
    known: list[str] = []
    for attempt in (choices, []):
        try:
            words = [word for word in attempt if word.split("=")[0] != key]
            known = keys_of(words)
            break
        except UsageError:
            continue
    hint = nearest(key, known)
    if not hint:
        # 'model.c' is one letter from 'model.C', but 'max_feature' lacks its group.
        leaf = key.rsplit(".", 1)[-1]
        by_leaf = {name.rsplit(".", 1)[-1]: name for name in known}
        found = nearest(leaf, by_leaf)
        hint = f"; did you mean '{by_leaf[found.split(chr(39))[1]]}'?" if found else ""
    where = "`sentiment config` lists all keys" if name == "config" else f"keys: {', '.join(known)}"
    return UsageError(f"unknown key '{key}'{hint} ({where})")
