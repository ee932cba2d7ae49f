// Namespaces, whole machines under load, a browser, one after the other: root and the Debian packages of `npm run setup` are needed.
export default {
  files: ["test/lab/**/*.test.ts", "test/e2e/**/*.test.ts"],
  extensions: ["ts"],
  require: ["./test/support/silent-ends.ts"],
  timeout: "12m",
  concurrency: 1,
  serial: true,
};
