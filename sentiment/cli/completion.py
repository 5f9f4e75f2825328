"""``sentiment completion``: the script that lets a shell complete commands, options, keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from sentiment.errors import UsageError, nearest

HELP = """Print the script that lets a shell complete commands, options, keys and their values.

\b
eval "$(sentiment completion bash)"        in ~/.bashrc
eval "$(sentiment completion zsh)"         in ~/.zshrc, after compinit
sentiment completion fish | source         in ~/.config/fish/config.fish
"""


# Readline ends words at = and :, so the words are taken from the line, and what was typed before
# the last of these is cut from each answer.
BASH = """\
_sentiment_completion() {
    local line=${COMP_LINE:0:COMP_POINT} found
    local last=${line##*[[:space:]]}
    mapfile -t found < <(_SENTIMENT_COMPLETE=$line "$1" 2>/dev/null)
    if [[ $last == *[=:]* && $COMP_WORDBREAKS == *=* ]]; then
        found=("${found[@]#"${last%"${last##*[=:]}"}"}")
    fi
    COMPREPLY=("${found[@]}")
    if [[ ${#found[@]} == 1 && ${found[0]} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _sentiment_completion sentiment
"""
ZSH = """\
_sentiment_completion() {
    local -a found open
    found=("${(@f)$(_SENTIMENT_COMPLETE="${words[1,$CURRENT]}" ${words[1]} 2>/dev/null)}")
    open=("${(@M)found:#*=}")
    found=("${(@)found:#*=}")
    found=("${(@)found:#}")
    (( ${#open} )) && compadd -S '' -a open
    (( ${#found} )) && compadd -a found
    (( ${#open} + ${#found} )) || _files
}
compdef _sentiment_completion sentiment
"""
FISH = """\
complete --command sentiment --arguments '(_SENTIMENT_COMPLETE=(commandline -cp) sentiment 2>/dev/null)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="Which shell.")],
) -> None:
    if shell not in SCRIPTS:
        raise UsageError(
            f"no completion for {shell!r}{nearest(shell, SCRIPTS)} (shells: {', '.join(SCRIPTS)})"
        )
    print(SCRIPTS[shell], end="")


def answers(line: str, build_app: Callable[[str], typer.Typer]) -> list[str]:
    """Return what the last word of a command line could be.

    Parameters
    ----------
    line : str
        Up to the cursor.
    build_app : callable
        Gives the command line with one command in it, by its name.
    """
    import typer.main

    *before, incomplete = [*line.split(), ""] if line[-1:].isspace() else line.split()
    name, *words = before[1:] or [""]
    command = typer.main.get_command(build_app(name))
    if name:
        command = getattr(command, "commands", {}).get(name, command)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    takes_overrides = any(parameter.name == "overrides" for parameter in command.params)
    if incomplete.startswith("-"):
        found = [option for parameter in command.params for option in parameter.opts]
        found = [option for option in found if option.startswith("--")]
    elif hasattr(command, "commands"):
        found = list(command.commands)
    else:
        found = complete(words, incomplete) if takes_overrides else []
    return [word for word in found if word.startswith(incomplete)]


def complete(args: list[str], incomplete: str) -> list[str]:
    """Complete groups, their options, and keys with their values, without importing Hydra.

    Parameters
    ----------
    args : list of str
        The words before: ``model=logreg`` decides which keys ``model.`` has.
    incomplete : str
        The word that is being typed.
    """
    from sentiment import groups

    known = groups.groups()
    name, equals, _ = incomplete.partition("=")
    if equals and name in known:
        return [w for option in known[name] if (w := f"{name}={option}").startswith(incomplete)]
    if equals:
        words = [f"{name}={value}" for value in groups.values(name)]
        return [word for word in words if word.startswith(incomplete)]
    keys = groups.root_keys()
    for group, option in groups.chosen(args).items():
        if group in ("data", "vectorizer", "model"):
            keys |= {
                f"{group}.{key}": item for key, item in groups.group_keys(group, option).items()
            }
    words = [f"{word}=" for word in [*known, *keys]]
    # A group's keys only once its dot is typed: there are a hundred.
    return sorted(
        {
            word
            for word in words
            if word.startswith(incomplete) and ("." in incomplete or "." not in word)
        }
    )
