/**
 * The test file that a title in AVA's TAP output belongs to; `undefined` when none fits.
 *
 * AVA writes what tells the files of a run apart before the test's own words: directories and the
 * file's name without `.test.ts`, joined by ` › `, without those that all files share. The file
 * whose path agrees in most of them is meant. A crash names the path itself.
 *
 * @param files paths from the project's root, as `test/dhcp/reply.test.ts`
 */
export function fileOfTitle(title: string, files: readonly string[]): string | undefined {
  const named = files.find((file) => title.includes(file));
  if (named) return named;
  let best: { file: string; length: number } | undefined;
  for (const file of files) {
    const parts = file.replace(/\.test\.ts$/, "").split("/");
    for (let first = 0; first < parts.length; first += 1) {
      const prefix = `${parts.slice(first).join(" › ")} › `;
      if (!title.startsWith(prefix)) continue;
      if (!best || prefix.length > best.length) best = { file, length: prefix.length };
      break;
    }
  }
  return best?.file;
}
