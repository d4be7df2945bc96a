"""The API's errors as `Status` objects, with the messages of a 1.36 API server. Pure: no I/O."""

from __future__ import annotations

from typing import Any

from embedded.apiserver.resources import Resource

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """An error response; `status` is the body, `code` the HTTP status."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
        }
        if reason is not None:
            self.status["reason"] = reason
        if details is not None:
            self.status["details"] = details
        self.status["code"] = code


def details_of(resource: Resource, name: str, kind: str | None = None) -> dict[str, Any]:
    """The object of the error; the core group and an unknown name are omitted, as by the server."""
    found = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in found.items() if value}


def qualified(word: str, group: str) -> str:
    return f"{word}.{group}" if group else word


def not_found(resource: Resource, name: str) -> ApiError:
    message = f'{qualified(resource.plural, resource.group)} "{name}" not found'
    return ApiError(404, message, "NotFound", details_of(resource, name))


def no_such_resource() -> ApiError:
    return ApiError(404, "the server could not find the requested resource", "NotFound", {})


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{qualified(resource.plural, resource.group)} "{name}" already exists'
    return ApiError(409, message, "AlreadyExists", details_of(resource, name))


def conflict(resource: Resource, name: str, why: str = MODIFIED, kind: str | None = None) -> ApiError:
    word = qualified(kind or resource.plural, resource.group)
    message = f'Operation cannot be fulfilled on {word} "{name}": {why}'
    return ApiError(409, message, "Conflict", details_of(resource, name, kind))


def invalid(
    kind: str,
    group: str,
    name: str,
    field: str,
    message: str,
    reason: str = "FieldValueInvalid",
    times: int = 1,
) -> ApiError:
    error = invalid_in_all(kind, group, name, [(field, message, reason)])
    error.status["details"]["causes"] *= times
    return error


def invalid_in_all(kind: str, group: str, name: str, found: list[tuple[str, str, str]]) -> ApiError:
    """`found`: the errors, as (field, message, reason)."""
    about = {"name": name, "group": group, "kind": kind}
    details: dict[str, Any] = {key: value for key, value in about.items() if value}
    details["causes"] = [
        {"reason": reason, "message": message, "field": field} for field, message, reason in found
    ]
    complaints = [f"{field}: {message}" for field, message, _ in found]
    text = complaints[0] if len(complaints) == 1 else f"[{', '.join(complaints)}]"
    return ApiError(422, f'{qualified(kind, group)} "{name}" is invalid: {text}', "Invalid", details)


def invalid_patch(shown: str, why: str) -> ApiError:
    """A patch whose result is not an object of the kind: the server names neither kind nor object."""
    return invalid("", "", "", "patch", f'Invalid value: "{shown}": {why}')


def rejected_json_patch() -> ApiError:
    return ApiError(422, "the server rejected our request due to an error in our request", "Invalid", {})


def bad_request(message: str) -> ApiError:
    return ApiError(400, message, "BadRequest")


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, message, "MethodNotAllowed", {})


def not_acceptable() -> ApiError:
    message = "406: Not Acceptable\n\nAvailable representations: application/json"
    return ApiError(406, message, "NotAcceptable", {})


def unsupported_media_type() -> ApiError:
    return ApiError(415, "415: Unsupported Media Type", "UnsupportedMediaType", {})


def too_many_disruptions(budget: str, complaint: str) -> ApiError:
    """An eviction that a PodDisruptionBudget does not allow; without Retry-After, because the time is unknown."""
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {budget} {complaint}"}
    return ApiError(429, message, "TooManyRequests", {"causes": [cause]})


def expired(version: int, oldest: int) -> ApiError:
    return ApiError(410, f"too old resource version: {version} ({oldest})", "Expired")


def expired_list(token: str) -> ApiError:
    """A list that cannot be continued; `token` continues it at the present version."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
        "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing "
        "with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the "
        "time the first chunk was returned and now may show up in the list."
    )
    error = ApiError(410, message, "Expired")
    error.status["metadata"] = {"continue": token}
    return error


def not_a_number(text: str) -> str:
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def too_large(version: int, current: int) -> ApiError:
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {version}, current: {current}"
    return ApiError(504, message, "Timeout", details, {"Retry-After": "1"})
