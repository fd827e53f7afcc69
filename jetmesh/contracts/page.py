"""The AsyncAPI document as one HTML page that needs no network, to look up an event or a field."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from jetmesh.contracts.schema import ALLOWED, FACTS, UNIT, VALUES, Field, Schema, fields

Document = Mapping[str, Any]

RANGES = (("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"), ("minimum", "maximum", ""))


def html(document: Document) -> str:
    """The page."""
    template = Template(files("jetmesh.contracts").joinpath("page.html").read_text("utf-8"))
    info = {name: escape(str(value)) for name, value in document["info"].items()}
    events = _events(document)
    sections = "\n".join(_section(document, name) for owner in events.values() for name in owner)
    return template.substitute(info, links=_links(events), reach=_reach(document), sections=sections)


def _reach(document: Document) -> str:
    """What a program of another team needs beside the events: servers, keys, headers, limits, streams, durables."""
    schemas, schemes = document["components"]["schemas"], document["components"]["securitySchemes"]
    servers = {f"{each['protocol']}://{each['host']}": each for each in document["servers"].values()}
    rows: dict[str, Iterable[str]] = {
        "servers": _described(servers),
        "key": (escape(each["description"]) for each in schemes.values()),
        "limits": (f"{_code(name)} {value:,}" for name, value in document.items() if "-bytes" in name),
        "headers": _headers(schemas["headers"]),
        "headers from outside": _headers(schemas["headers.from_outside"]),
        "streams": (f"{_code(name)} {_code(', '.join(each['subjects']))}"
                    for name, each in document.get("x-jetstream-streams", {}).items()),
        "durables": _durables(document),
        "requests": _requests(document),
        "refused": [escape(document["x-refusals"])],
        **({"dead letters": _headers(schemas["dead_letter.headers"])} if "dead_letter.headers" in schemas else {}),
    }  # fmt: skip
    listed = "".join(f"<dt>{label}</dt><dd>{'<br>'.join(lines)}</dd>" for label, lines in rows.items())
    return f"""<section id="reach">
<h2><a href="#reach">How to reach the mesh</a></h2>
<dl>{listed}</dl>
</section>"""


def _headers(schema: Schema) -> Iterator[str]:
    yield escape(schema["description"])
    yield from _described(schema["properties"])


def _described(named: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_code(name)} {escape(each.get('description', ''))}" for name, each in named.items())


def _durables(document: Document) -> Iterator[str]:
    """Who pulls which durable, and who asks for the newest event of which type."""
    for name, said in document["operations"].items():
        consumer, asked = said.get("x-jetstream-consumer"), said.get("x-jetstream-direct-get")
        if consumer and "pull" in consumer:
            place = f"{consumer['stream']}/{consumer['durable_name']}"
            yield f"{escape(name)}: {_code(place)}, {_code(consumer['pull'])}"
        if asked:
            yield f"{escape(name)}: {_code(asked)}"


def _requests(document: Document) -> Iterator[str]:
    """Which requests are answered, and who outside asks them."""
    for name, said in document["operations"].items():
        if "reply" in said:
            asked = document["channels"][said["channel"]["$ref"].rpartition("/")[2]]
            yield f"{escape(name)}: {_code(asked['address'])} {escape(said['summary'])}"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _events(document: Document) -> dict[str, list[str]]:
    """The types of events by their owners."""
    found: dict[str, list[str]] = {}
    for name, channel in document["channels"].items():
        if name in channel["messages"] and "parameters" in channel:
            found.setdefault(_payload(document, name)[FACTS]["owner"], []).append(name)
    return found


def _links(events: Mapping[str, Iterable[str]]) -> str:
    return "\n".join(
        f"<h2>{escape(owner)}</h2>\n" + "\n".join(f'<a href="#{name}">{name}</a>' for name in names)
        for owner, names in events.items()
    )


def _payload(document: Document, name: str) -> Schema:
    reference = document["components"]["messages"][name]["payload"]["$ref"]
    schema: Schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def _section(document: Document, name: str) -> str:
    schema, channel = _payload(document, name), document["channels"][name]
    meaning, _, when = str(schema["description"]).partition("\n\n")
    facts = {
        "subject": f"<code>{escape(channel['address'])}</code>",
        "stream": f"<code>{channel['x-jetstream-stream']}</code>",
        "recorded by": _chips([schema[FACTS]["owner"]]),
        "read by": _chips(_readers(document, name)) or "no consumer in this mesh",
        **_outside(document, name),
    }
    listed = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in facts.items())
    return f"""<section id="{name}">
<h2><a href="#{name}">{name}</a></h2>
<p>{escape(meaning)}</p>
<p class="when">{escape(when)}</p>
<dl>{listed}</dl>
{_table(document, schema)}
{_example(schema)}
</section>"""


def _readers(document: Document, name: str) -> list[str]:
    """The reactions to a type, as `service.reaction`."""
    references = {f"#/channels/{name}", f"#/channels/{name}.from_outside"}
    found = (
        operation.removesuffix(f".{name}")
        for operation, said in document["operations"].items()
        if said["action"] == "receive" and said["channel"]["$ref"] in references
    )
    return list(dict.fromkeys(found))


def _outside(document: Document, name: str) -> dict[str, str]:
    channel = document["channels"].get(f"{name}.from_outside")
    if channel is None:
        return {}
    return {"from outside": f"publish to <code>{channel['address']}</code>: {escape(channel['description'])}"}


def _chips(names: Iterable[str]) -> str:
    return "".join(f'<span class="chip">{escape(name)}</span>' for name in names)


def _table(document: Document, schema: Schema) -> str:
    rows = "\n".join(_row(field) for field in fields(_inlined(document, schema)))
    return (
        f'<div class="scroll"><table><thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead>\n'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _inlined(document: Document, schema: Schema) -> Schema:
    """The schema in a document where its references resolve as in the AsyncAPI document."""
    return {**schema, "components": document["components"]}


def _row(field: Field) -> str:
    optional = "" if field.required else ' <span class="optional">optional</span>'
    unit = f"; unit: {field.schema[UNIT]}" if UNIT in field.schema else ""
    return (
        f"<tr><td><code>{escape(field.path)}</code>{optional}</td><td>{escape(type_of(field.schema))}</td>"
        f"<td>{escape(field.schema.get('description', '').partition(chr(10))[0])}"
        f'<span class="limits">{escape("; ".join(_limits(field.schema)) + unit).removeprefix("; ")}</span></td></tr>'
    )


def type_of(schema: Schema) -> str:
    """The type of a field in a word or two, or its listed values."""
    if values := schema.get("enum", schema.get(VALUES)):
        return " | ".join(map(str, values)) + (" | …" if VALUES in schema else "")
    if "const" in schema:
        return json.dumps(schema["const"])
    branches = schema.get("anyOf", schema.get("oneOf", ()))
    kinds = [str(branch.get("type", "object")) for branch in branches]
    return " or ".join(kinds) or str(schema.get("type", "anything"))


def _limits(schema: Schema) -> Iterator[str]:
    if ALLOWED in schema:
        yield str(schema[ALLOWED])
        return
    for low, high, unit in RANGES:
        if low in schema and high in schema:
            yield f"{schema[low]:,} to {schema[high]:,}{unit}"
        elif low in schema or high in schema:
            yield f"at {'least' if low in schema else 'most'} {schema.get(low, schema.get(high)):,}{unit}"
    yield from (f"{keyword} {schema[keyword]}" for keyword in ("pattern", "format") if keyword in schema)


def _example(schema: Schema) -> str:
    shown = json.dumps(schema.get("examples", [{}])[0], indent=2, ensure_ascii=False)
    return f"<details><summary>Example</summary><pre><code>{escape(shown)}</code></pre></details>"
