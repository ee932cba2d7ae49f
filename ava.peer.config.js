// Real clients, servers and hardware simulators, and whole sites of simulated boards, in namespaces
// of their own: root and the Debian packages of `npm run setup` are needed.
// They wait more than they work, so several files run at a time.
import { longestFirst } from "./ava.order.js";

export default {
  files: ["test/peer/**/*.test.ts", "test/site/**/*.test.ts"],
  extensions: ["ts"],
  require: ["./test/support/silent-ends.ts"],
  timeout: "12m",
  concurrency: 3,
  sortTestFiles: longestFirst([
    ...["rack-48", "update", "real-rack", "capture", "lldp", "rules", "trust", "full-disk"],
    ...["tftp-network", "power-ipmi"],
  ]),
};
