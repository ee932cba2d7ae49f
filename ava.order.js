/** For AVA's `sortTestFiles`: these files begin first, the others as they come; else the last runs alone at the end. */
export function longestFirst(names) {
  const place = (path) => {
    const at = names.findIndex((name) => path.endsWith(`/${name}.test.ts`));
    return at < 0 ? names.length : at;
  };
  return (one, other) => place(one) - place(other) || one.localeCompare(other);
}
