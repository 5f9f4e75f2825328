"""``sentiment config``: what a command would run with."""

from __future__ import annotations

from typing import Annotated

import typer

from sentiment.cli.overrides import HYDRA_SETTINGS, LabelColumn, Overrides, TextColumn, with_file

HELP = """Print the config that the same words after `train` would use, or check it.

\b
sentiment config                         the whole default config, as YAML
sentiment config model=logreg --keys     every key with its value, one a line
sentiment config --options               the groups and what each can be
sentiment config > my.yaml               a starting point of your own
sentiment config --schema > schema.json  for editors: # yaml-language-server: $schema=schema.json
"""
SETTINGS = HYDRA_SETTINGS

STANDALONE = """\
# A config of its own: sentiment train --config-dir . --config-name my   (this file is my.yaml)
defaults:
  - schema
  - _self_
  - override hydra/sweeper: sentiment
  - override hydra/job_logging: sentiment
  - override hydra/hydra_logging: sentiment
hydra:
  run:
    dir: ${output_dir}/runs/${now:%Y%m%d-%H%M%S}-${random_hex:6}
  sweep:
    dir: ${output_dir}/sweeps/${now:%Y%m%d-%H%M%S}-${random_hex:6}
    subdir: ${hydra.job.num}
  job:
    chdir: false
"""
"""What `sentiment config` prints before the keys, so that Hydra runs the file as it runs ours."""


def config(
    overrides: Overrides = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    keys: Annotated[bool, typer.Option("--keys", help="One KEY=VALUE a line.")] = False,
    options: Annotated[bool, typer.Option("--options", help="List groups and options.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print a JSON Schema, for editors.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    if schema:
        import json

        from sentiment.schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return
    from omegaconf import OmegaConf

    from sentiment.cli.console import emit_json
    from sentiment.config import compose, flatten
    from sentiment.groups import groups as all_groups

    if options:
        groups = all_groups(all_=True)
        if json_:
            emit_json(groups)
        else:
            for group, names in groups.items():
                print(f"{group}={' | '.join(names)}")
        return
    cfg = compose(with_file("config", overrides or [], text, label))
    # A value that must be given by the user (???) is shown as it stands.
    resolved = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    if json_:
        emit_json(resolved)
    elif keys:
        for key, value in flatten(resolved).items():
            print(f"{key}={'null' if value is None else value}")
    else:
        print(STANDALONE + OmegaConf.to_yaml(OmegaConf.create(resolved)), end="")
