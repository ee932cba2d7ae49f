// Real peers, namespaces, QEMU, a browser: root and the Debian packages of `npm run setup` are needed.
export default {
  files: ["test/peer/**/*.test.ts", "test/lab/**/*.test.ts", "test/e2e/**/*.test.ts"],
  extensions: ["ts"],
  timeout: "12m",
  concurrency: 1,
  serial: true,
};
