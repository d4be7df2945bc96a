"""The HTTP server of the cluster: routes, authorization, answers. Contains no logic about objects."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from embedded.apiserver import discovery, patches, rights, watching
from embedded.apiserver.certificate import Certificate
from embedded.apiserver.cluster import Cluster
from embedded.apiserver.errors import (
    ApiError,
    method_not_allowed,
    no_such_resource,
    not_found,
    unauthorized,
    unsupported_media_type,
)
from embedded.apiserver.listing import number, page, selected_by
from embedded.apiserver.options import Options
from embedded.apiserver.request_info import TRUE, RequestInfo, form_of, read
from embedded.apiserver.resources import REVIEWS, Resource
from embedded.apiserver.scale import scale_of
from embedded.apiserver.tables import table

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
DISCOVERY_FORM = "APIGroupDiscoveryList"
HEALTH = ("/healthz", "/livez", "/readyz")
BIGGEST_BODY = 3 * 1024 * 1024


async def serve(
    cluster: Cluster,
    port: int = 0,
    middlewares: Sequence[Middleware] = (),
    certificate: Certificate | None = None,
) -> tuple[web.AppRunner, int]:
    """Binds 127.0.0.1:port (0: any free port); the runner's cleanup() ends watches and closes the port.

    Serves https with a certificate, else http. `middlewares` run first, so that a test can inject errors.
    """
    api = Api(cluster)
    app = web.Application(middlewares=list(middlewares), client_max_size=BIGGEST_BODY)
    app.router.add_route("*", "/{path:.*}", api.answer)
    app.on_shutdown.append(api.shut)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    context = certificate.server_context() if certificate else None
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
    await site.start()
    bound: int = runner.addresses[0][1]
    return runner, bound


class Api:
    """Answers one request at a time from one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self.supported = cluster.supported
        self._closing = asyncio.Event()

    async def shut(self, app: web.Application) -> None:
        self._closing.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            now = self.cluster.controllers.now()
            identity = rights.authenticate(self.cluster.tokens, request.headers.get("Authorization"), now)
            if identity is None:
                raise unauthorized()
            info = read(request.method, request.path, request.query)
            if info is None:
                return self._not_a_resource(request, identity)
            if not rights.allowed(identity, info.attributes):
                raise rights.forbidden(identity, info.attributes)
            return await self._resource(request, identity, info)
        except ApiError as error:
            return _json(error.status, error.code, headers=error.headers)
        except Exception as error:
            # A bug here, or an unexpected body: answered as the server does, and logged.
            logging.getLogger(__name__).exception("%s %s", request.method, request.path)
            internal = ApiError(500, f"Internal error occurred: {error!r}", "InternalError")
            return _json(internal.status, 500)

    def _not_a_resource(self, request: web.Request, identity: rights.Identity) -> web.Response:
        path = request.path.rstrip("/")
        public = path in (*HEALTH, "/version")
        if identity is rights.ANONYMOUS and not public:
            raise rights.forbidden_path(identity, request.method.lower(), request.path)
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        if path in HEALTH:
            return _text("ok")
        if (
            path in ("/api", "/apis")
            and form_of(request.headers.get("Accept", ""), DISCOVERY_FORM) != "plain"
        ):
            return _json(
                discovery.aggregated(self.supported, core=path == "/api"),
                content_type=f"{JSON};g=apidiscovery.k8s.io;v=v2;as={DISCOVERY_FORM}",
            )
        steps = path.strip("/").split("/")
        body: dict[str, Any] | None = None
        match steps:
            case ["version"]:
                body = discovery.VERSION
            case ["api"]:
                body = discovery.versions(request.host)
            case ["apis"]:
                body = discovery.groups(self.supported)
            case ["apis", group]:
                body = discovery.one_group(self.supported, group)
            case ["api", "v1"]:
                body = discovery.resources(self.supported, "", "v1")
            case ["apis", group, version] if (group, version) in self.supported.group_versions:
                body = discovery.resources(self.supported, group, version)
        return _no_such_page() if body is None else _json(body)

    async def _resource(
        self, request: web.Request, identity: rights.Identity, info: RequestInfo
    ) -> web.StreamResponse:
        if (info.group, info.version) not in self.supported.group_versions:
            return _no_such_page()
        resource = self.supported.by_path.get((info.group, info.version, info.resource))
        if resource is None or bool(info.namespace) > resource.namespaced:
            raise no_such_resource()
        verbs = resource.subresources.get(info.subresource) if info.subresource else resource.verbs
        if verbs is None:
            raise no_such_resource()
        if info.verb not in verbs:
            raise method_not_allowed()
        form = form_of(request.headers.get("Accept", ""), "Table")
        if info.verb == "watch":
            return await self._watch(request, resource, info, form)
        if info.verb in ("get", "list"):
            return self._read(resource, info, form)
        return await self._write(request, identity, resource, info)

    def _read(self, resource: Resource, info: RequestInfo, form: str) -> web.Response:
        if info.verb == "get":
            found = self.store.get(resource, info.namespace, info.name)
            if found is None:
                raise not_found(resource, info.name)
            if info.subresource == "scale":
                return _json(scale_of(found))
            if form == "Table":
                meta = {"resourceVersion": found["metadata"]["resourceVersion"]}
                return _json(table(resource, [found], meta, self.cluster.controllers.now()))
            return _json(found)
        listed = page(
            resource,
            self.store.list(resource, info.namespace or None),
            self.store.version,
            info.query,
            self.store.forgotten,
        )
        if form == "Table":
            return _json(table(resource, listed["items"], listed["metadata"], self.cluster.controllers.now()))
        return _json(listed)

    async def _write(
        self, request: web.Request, identity: rights.Identity, resource: Resource, info: RequestInfo
    ) -> web.Response:
        options = Options.of(info.query, info.verb, request.headers.get("User-Agent", ""))
        writes, body = self.cluster.writes, await request.read()
        content_type = request.content_type
        where = (resource, info.namespace, info.name)
        code, answer = 200, None
        if info.verb == "patch":
            if resource.custom and content_type == patches.STRATEGIC:
                raise unsupported_media_type()
            patch = patches.parse(content_type, body)
            if info.subresource == "scale":
                answer = writes.patch_scale(*where, content_type, patch, options)
            else:
                answer = writes.patch(*where, info.subresource, content_type, patch, options)
        else:
            if body and content_type not in (JSON, "application/octet-stream"):
                raise unsupported_media_type()
            parsed = patches.loads(body) if body or info.verb != "delete" else None
            if info.verb == "delete":
                answer = writes.delete(*where, _delete_options(parsed, info), options)
            elif resource is REVIEWS:
                code, answer = 201, rights.review(identity, parsed if isinstance(parsed, dict) else {})
            elif info.subresource == "eviction":
                code, answer = 201, writes.evict(info.namespace, info.name, parsed, options)
            elif info.verb == "create":
                code, answer = 201, writes.create(resource, info.namespace, parsed, options)
            elif info.subresource == "scale":
                answer = writes.put_scale(*where, parsed, options)
            else:
                made, answer = writes.replace(*where, parsed, options)
                code = 201 if made else 200
        return _json(answer, code, warnings=options.warnings)

    async def _watch(
        self, request: web.Request, resource: Resource, info: RequestInfo, form: str
    ) -> web.StreamResponse:
        query = info.query
        selected = selected_by(resource, query)
        watch = watching.Watch(
            resource,
            info.namespace or None,
            (lambda obj: obj["metadata"]["name"] == info.name and selected(obj)) if info.name else selected,
            watching.version_of(query.get("resourceVersion", "")),
            number(query, "timeoutSeconds") or watching.TIMEOUT_S,
            query.get("allowWatchBookmarks") in TRUE,
        )
        response = web.StreamResponse(headers={"Content-Type": JSON})
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with aclosing(watch.events(self.store, self._closing)) as events:
            async for word, obj in events:
                if form == "Table" and word not in ("ERROR", "BOOKMARK"):
                    meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
                    obj = table(resource, [obj], meta, self.cluster.controllers.now())
                await response.write(_line({"type": word, "object": obj}))
        await response.write_eof()
        return response


def _delete_options(body: Any, info: RequestInfo) -> Any:
    """The server reads them from the body, or from the query if there is no body."""
    if body is None and (grace_s := number(info.query, "gracePeriodSeconds")) is not None:
        return {"gracePeriodSeconds": int(grace_s)}
    return body


def _line(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _json(
    body: Any,
    code: int = 200,
    content_type: str = JSON,
    headers: dict[str, str] | None = None,
    warnings: Sequence[str] = (),
) -> web.Response:
    response = web.Response(
        status=code, body=_line(body), headers={"Content-Type": content_type, **(headers or {})}
    )
    for warning in warnings:
        escaped = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{escaped}"')
    return response


def _text(body: str, code: int = 200) -> web.Response:
    return web.Response(status=code, body=body.encode(), headers={"Content-Type": TEXT})


def _no_such_page() -> web.Response:
    return _text("404 page not found\n", 404)
