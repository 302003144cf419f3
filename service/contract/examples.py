"""Examples of requests and responses, made from the schemas of an OpenAPI document."""

from __future__ import annotations

from typing import Any

JSON = ("application/json", "application/merge-patch+json")


def add_examples(document: dict[str, Any]) -> None:
    """Give each body of JSON in the document an example, errors excepted."""
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for method, operation in methods.items():
            if method != "parameters":
                bodies = _bodies(operation)
                for body in bodies:
                    body["example"] = example(body["schema"], schemas)
                if method == "patch":  # What is sent is what becomes of the value.
                    sent, returned = bodies
                    returned["example"]["value"] = sent["example"]


def _bodies(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The bodies of JSON that an operation takes and returns."""
    holders = [operation.get("requestBody", {}), *operation["responses"].values()]
    return [
        body
        for holder in holders
        for media, body in holder.get("content", {}).items()
        if media in JSON
    ]


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value that the schema allows, with what is required or has an example of its own."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for name in ("examples", "enum"):
        if name in schema:
            return schema[name][0]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas)
    if schema.get("type") == "array":
        kinds = schema["items"].get("anyOf", [schema["items"]])
        return [example(kind, schemas) for kind in kinds]
    if schema.get("type") == "object":
        return _members(schema, schemas)
    return _PLAIN.get(schema.get("type", ""), {"text": "hello"})


def _members(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in schema:
        return {"visits": example(schema["additionalProperties"], schemas)}
    required = schema.get("required", ())
    return {
        name: example(member, schemas)
        for name, member in schema["properties"].items()
        if name in required or "examples" in member
    }


_PLAIN = {"string": "text", "integer": 42, "number": 30.0, "boolean": True, "null": None}
