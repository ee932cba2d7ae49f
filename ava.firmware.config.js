// Real firmware, kernels and images in QEMU: root and the Debian packages of `npm run setup` are needed.
// Each machine keeps one processor busy, so two files run at a time.
import { longestFirst } from "./ava.order.js";

export default {
  files: ["test/firmware/**/*.test.ts"],
  extensions: ["ts"],
  require: ["./test/support/silent-ends.ts"],
  timeout: "20m",
  concurrency: 2,
  sortTestFiles: longestFirst(["rack-install", "server-killed", "uefi-boot", "netinst"]),
};
