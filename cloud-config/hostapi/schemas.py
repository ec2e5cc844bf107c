"""JSON Schemas of the answers, where their form is fixed; draft 2020-12, as OpenAPI 3.1 has it.

An agent's own status is an object with a schema number of its own; its documentation is the
agent's. Further names may come in any object: a client passes over what it does not know.
"""

from collections.abc import Mapping

from hostapi.refusal import Fault

Schema = dict[str, object]

_TEXT: Schema = {"type": "string"}
_SECONDS: Schema = {"type": ["number", "null"], "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "string", "format": "date-time"}
_STAGES = ("firmware", "loader", "kernel", "initrd", "userspace", "total")
_OBJECT: Schema = {"type": "object"}
_MAYBE_OBJECT: Schema = {"type": ["object", "null"]}


def _object(
    properties: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None
) -> Schema:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _whole(properties: Mapping[str, Schema]) -> Schema:
    return _object({"schema": {"const": 1}, **properties})


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


ERROR = _whole(
    {
        "error": _object(
            {"code": {"enum": [each.value for each in Fault]}, "message": _TEXT},
        )
    }
)
_AGENT = _whole({})
_DONE = _whole({"done": _TEXT})

ANSWERS: Mapping[str, Schema] = {
    "status": _whole(
        {
            "host": _object(
                {
                    "name": _TEXT,
                    "image": _TEXT,
                    "version": _TEXT,
                    "slot": _TEXT,
                    "boot_id": _TEXT,
                    "booted_at": _maybe(_TIME),
                    "addresses": _list(_TEXT),
                }
            ),
            "health": _object({"state": {"enum": ["starting", "good", "failed"]}, "detail": _TEXT}),
            "agents": _object(
                dict.fromkeys(("update", "config", "overlay", "pods"), _MAYBE_OBJECT)
            ),
            "certificate": _maybe(
                _object({"fingerprint": _TEXT, "not_after": _TEXT, "source": _TEXT})
            ),
            "last_error": _TEXT,
        }
    ),
    "boots": _whole(
        {
            "boots": _list(
                _object(
                    {
                        "index": {"type": "integer", "maximum": 0},
                        "boot_id": _TEXT,
                        "first": _TIME,
                        "last": _TIME,
                    }
                )
            )
        }
    ),
    "timings": _whole(
        {
            **dict.fromkeys(_STAGES, _SECONDS),
            "units": _list(_object({"unit": _TEXT, "seconds": {"type": "number", "minimum": 0}})),
        }
    ),
    "pods": _AGENT,
    "overlay": _AGENT,
    "update": _whole(
        {
            "status": _OBJECT,
            "history": _list({}),
            "override": _maybe(_object({}, {"channel": {}, "strategy": {}})),
        }
    ),
    "trust": _whole(
        {
            "roles": _list(
                _object(
                    {
                        "role": _TEXT,
                        "version": _COUNT,
                        "expires": _TIME,
                        "threshold": _COUNT,
                        "keys": _list(_TEXT),
                    }
                )
            )
        }
    ),
    "config": _whole({"status": _MAYBE_OBJECT, "document": _TEXT}),
    "config-plan": _whole({"changes": _list(_TEXT), "faults": _list(_TEXT)}),
    "extensions": _whole(
        {
            "extensions": _list(
                _object(
                    {
                        "name": _TEXT,
                        "version": {"type": ["string", "null"]},
                        "state": {"enum": ["merged", "refused", "absent"]},
                        "reason": _TEXT,
                        "source": {"enum": ["document", "api", "disk"]},
                    }
                )
            )
        }
    ),
    "crashes": _whole(
        {
            "crashes": _list(
                _object(
                    {
                        "name": _TEXT,
                        "kind": {"enum": ["kernel", "core"]},
                        "at": _TIME,
                        "bytes": _COUNT,
                        "program": _TEXT,
                    },
                    {"pod": _TEXT},
                )
            )
        }
    ),
    "check": _AGENT,
    "rollback": _DONE,
    "override": _DONE,
    "override-end": _DONE,
    "reboot": _DONE,
    "extension-add": _DONE,
    "extension-remove": _DONE,
    "renew": _DONE,
    "wipe": _DONE,
    "openapi": _object({"openapi": _TEXT, "info": _OBJECT, "paths": _OBJECT}),
}

# One line of a stream. What a client of ours must know of a journal's entry is always there.
LINES: Mapping[str, Schema] = {
    "logs": _object(
        {"time": _TIME, "message": _TEXT},
        {
            "priority": {"type": ["integer", "null"], "minimum": 0, "maximum": 7},
            "unit": {"type": ["string", "null"]},
            "identifier": {"type": ["string", "null"]},
            "pid": {"type": ["integer", "null"]},
            "pod": _TEXT,
            "container": _TEXT,
            "boot": _TEXT,
        },
    ),
    "stage": {"anyOf": [_object({"progress": _OBJECT}), _object({"result": _OBJECT})]},
}
LAST_LINE = _object({"error": _object({"code": _TEXT, "message": _TEXT})})
