/** Calls of the API with the session's cookie; problems become {@link ApiError}. */

import type { Problem } from "#protocol/problem.ts";

export class ApiError extends Error {
  readonly status: number;

  constructor(problem: Pick<Problem, "title" | "status">) {
    super(problem.title);
    this.status = problem.status;
  }
}

export async function call<Answer>(
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(path, {
    method,
    ...(body !== undefined && {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const value: unknown = isJson ? await response.json() : undefined;
  if (response.ok) return value as Answer; // the server checks what it answers
  throw new ApiError(
    (value as Problem | undefined) ?? { title: response.statusText, status: response.status },
  );
}
