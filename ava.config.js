// The quick level: units, vectors, captures, properties. Laboratory tests run by `npm test` (scripts/test.ts).
import { longestFirst } from "./ava.order.js";

export default {
  files: ["test/**/*.test.ts", "!test/{lab,firmware,peer,site,e2e}/**"],
  extensions: ["ts"],
  require: ["./test/support/silent-ends.ts"],
  timeout: "2m",
  sortTestFiles: longestFirst([
    ...["http/authorisation", "agent/cross-product", "images/library", "netinst/update"],
    ...["tftp/server", "power/contract", "job/update-killed", "learning/learning"],
    ...["learning/simulation", "agent/killed", "store/damage", "job/recurrence-zones"],
  ]),
};
