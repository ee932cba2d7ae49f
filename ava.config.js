// The quick level: units, vectors, captures, properties. Laboratory tests run by `npm test` (scripts/test.ts).
export default {
  files: ["test/**/*.test.ts", "!test/{lab,firmware,peer,site,e2e}/**"],
  extensions: ["ts"],
  timeout: "2m",
};
