/** Calls of the API with the session's cookie; problems become {@link ApiError}. */

import type { Problem } from "#protocol/problem.ts";

export class ApiError extends Error {
  readonly status: number;

  constructor(problem: Pick<Problem, "title" | "status">) {
    super(problem.title);
    this.status = problem.status;
  }
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What was read, and its ETag: the `ifMatch` of a change that rests on it. */
export interface Tagged<Answer> {
  readonly value: Answer;
  readonly tag: string;
}

export async function call<Answer>(method: Method, path: string, body?: unknown): Promise<Answer> {
  return (await callTagged<Answer>(method, path, body)).value;
}

/**
 * @param body - sent as JSON; a string as YAML
 * @param ifMatch - refused when somebody else has changed it since
 */
export async function callTagged<Answer>(
  method: Method,
  path: string,
  body?: unknown,
  ifMatch?: string,
): Promise<Tagged<Answer>> {
  const isText = typeof body === "string";
  const response = await fetch(path, {
    method,
    headers: {
      ...(body !== undefined && {
        "Content-Type": isText ? "application/yaml" : "application/json",
      }),
      ...(ifMatch !== undefined && { "If-Match": ifMatch }),
    },
    ...(body !== undefined && { body: isText ? body : JSON.stringify(body) }),
  });
  const value = await contentOf(response);
  // The server checks what it answers.
  if (response.ok) return { value: value as Answer, tag: response.headers.get("ETag") ?? "*" };
  throw new ApiError(
    (value as Problem | undefined) ?? { title: response.statusText, status: response.status },
  );
}

async function contentOf(response: Response): Promise<unknown> {
  const type = response.headers.get("Content-Type") ?? "";
  if (/json/.test(type)) return await response.json();
  return /yaml/.test(type) ? await response.text() : undefined;
}
