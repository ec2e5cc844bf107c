"""YAML whose scalars all stay text, so that `off` is a word and `13:30` a time.

Apart from the rest for its price: a small host spends a second of its boot on importing a YAML
reader, which JSON (a host's usual diet) does not need.
"""

from collections.abc import Hashable

import yaml


class _Loader(yaml.BaseLoader):
    """Plain text scalars, and no key twice."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - the parent's signature
    ) -> dict[Hashable, object]:
        """Build one mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_yaml(data: bytes) -> object:
    """Strings, lists and mappings of one document; None for an empty one.

    Raises:
        ValueError: it is no YAML, or has a key twice; the message says where.
    """
    try:
        # Safe: a BaseLoader makes strings, lists and dicts, and nothing else.
        return yaml.load(data, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
