import { parseArgs } from "node:util";
import test from "ava";
import { parseSearch, searchOptions } from "../../server/discovery/shared/search.ts";

function parse(...args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    options: searchOptions,
    allowPositionals: true,
  });
  return parseSearch(positionals[0], values);
}

test("without options two seconds are spent, asking three times, everywhere", (t) => {
  t.deepEqual(parse("deployer"), {
    service: "deployer",
    params: {},
    exclude: [],
    timeoutMs: 2000,
    retries: 2,
  });
});

test("every option has its place in the question", (t) => {
  const words = "--group 224.0.0.113 --param a=1 --param b=x=y --exclude 10.77.0.11";
  const more = "--max 3 --timeout 0.5 --retries 0 --interface eth1 --services";
  t.deepEqual(parse(...words.split(" "), ...more.split(" ")), {
    services: true,
    params: { a: "1", b: "x=y" },
    exclude: ["10.77.0.11"],
    maxNodes: 3,
    group: "224.0.0.113",
    timeoutMs: 500,
    retries: 0,
    interfaces: ["eth1"],
  });
});

const wrong = [
  [["--group", "10.0.0.1"], /--group 10.0.0.1 is not an address of 224/],
  [["--param", "arm64"], /--param arm64 is not NAME=VALUE/],
  [["--max", "0"], /--max 0 is not a whole number of 1-100000/],
  [["--max", "1.5"], /--max 1.5 is not a whole number/],
  [["--timeout", "61"], /--timeout 61 is not 0.1-60/],
  [["--timeout", ""], /--timeout {2}is not/],
  [["--retries", "many"], /--retries many is not a whole number of 0-20/],
] as const;
for (const [words, reason] of wrong) {
  test(`refused: ${words.join(" ")}`, (t) => {
    t.throws(() => parse(...words), { instanceOf: RangeError, message: reason });
  });
}
