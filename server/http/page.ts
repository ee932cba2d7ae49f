/**
 * The web page, from `web/dist` as `npm run build:web` left it. Read once at
 * start into a table: a request's path is looked up, never opened.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Middleware } from "koa";

const contentTypes: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  ico: "image/x-icon",
  woff2: "font/woff2",
};

interface PageFile {
  readonly bytes: Buffer;
  readonly type: string;
  readonly etag: string;
  /** The name holds a hash of the content. */
  readonly isForever: boolean;
}

const notBuilt = `<!doctype html><html lang="en"><title>marcoboot</title>
<main><h1>marcoboot</h1><p>The page is not built: run <code>npm run build:web</code> and start the
server again. The API is at <a href="/api/openapi.json">/api/openapi.json</a>.</p></main></html>`;

export function page(directory: string): Middleware {
  const files = readFiles(directory);
  return (context, next) => {
    if (context.method !== "GET" && context.method !== "HEAD") return next();
    const file = files.get(context.path === "/" ? "/index.html" : context.path);
    if (!file) return next();
    context.type = file.type;
    context.set("ETag", file.etag);
    context.set(
      "Cache-Control",
      file.isForever ? "public, max-age=31536000, immutable" : "no-cache",
    );
    context.status = 200;
    if (context.fresh) context.status = 304;
    else context.body = file.bytes;
    return undefined;
  };
}

function readFiles(directory: string): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  for (const path of listFiles(directory)) {
    const name = `/${relative(directory, path)}`;
    files.set(name, pageFile(readFileSync(path), name));
  }
  if (!files.has("/index.html")) {
    files.set("/index.html", pageFile(Buffer.from(notBuilt), "/index.html"));
  }
  return files;
}

function pageFile(bytes: Buffer, name: string): PageFile {
  const extension = name.slice(name.lastIndexOf(".") + 1);
  return {
    bytes,
    type: contentTypes[extension] ?? "application/octet-stream",
    etag: `"${createHash("sha256").update(bytes).digest("base64url")}"`,
    isForever: name.startsWith("/assets/"),
  };
}

function listFiles(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
