/** A directory of the test's own, removed when the test ends. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";

export function temporaryDirectory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), "marcoboot-test-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
