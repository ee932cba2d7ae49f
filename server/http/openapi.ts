/** OpenAPI 3.1 document of the route tables. */

import type { TObject, TSchema } from "typebox";
import { agentVersion } from "#protocol/agent.ts";
import type { Route } from "./route.ts";

const problemSchema = {
  type: "object",
  required: ["type", "title", "status"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    instance: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { pointer: { type: "string" }, detail: { type: "string" } },
      },
    },
  },
} as const;

export function openApiOf(routes: readonly Route[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([A-Za-z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method]: operationOf(route) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "marcoboot",
      version: agentVersion,
      description: "Network boot and OS provisioning: racks, nodes, images, jobs.",
    },
    paths,
    components: {
      schemas: { Problem: problemSchema },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        cookie: { type: "apiKey", in: "cookie", name: "marcoboot_session" },
      },
    },
  };
}

function operationOf(route: Route): Record<string, unknown> {
  const status = String(route.status ?? 200);
  return {
    operationId: route.name,
    summary: route.summary,
    tags: [route.path.split("/")[3] ?? "server"],
    "x-role": route.role,
    security: route.role === "public" ? [] : [{ bearer: [] }, { cookie: [] }],
    parameters: [...parametersOf(route.params, "path"), ...parametersOf(route.query, "query")],
    ...(hasBody(route) && { requestBody: { required: true, content: bodyOf(route) } }),
    responses: {
      [status]: {
        description: route.summary,
        ...(status !== "204" && {
          content: { [route.responseType ?? "application/json"]: { schema: route.response ?? {} } },
        }),
      },
      default: {
        description: "What went wrong",
        content: {
          "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
        },
      },
    },
  };
}

function hasBody(route: Route): boolean {
  return route.body !== undefined || route.bodyKind === "text" || route.bodyKind === "stream";
}

function bodyOf(route: Route): Record<string, unknown> {
  if (route.bodyKind === "stream") {
    return { "application/octet-stream": { schema: { type: "string", format: "binary" } } };
  }
  if (route.bodyKind === "text") {
    return { "application/yaml": { schema: {} }, "application/json": { schema: {} } };
  }
  return { "application/json": { schema: route.body } };
}

function parametersOf(schema: TObject | undefined, place: "path" | "query"): readonly unknown[] {
  const required = new Set<string>((schema?.required as readonly string[] | undefined) ?? []);
  return Object.entries<TSchema>(schema?.properties ?? {}).map(([name, member]) => ({
    name,
    in: place,
    required: place === "path" || required.has(name),
    schema: member,
  }));
}
