import test, { type ExecutionContext } from "ava";
import { startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

async function bench(t: ExecutionContext) {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const cli = (...words: readonly string[]) =>
    run(["learn", ...words], server, { token: tokens.admin });
  return { server, cli };
}

test("a start says first what would be switched, and is not done unasked", async (t) => {
  const { server, cli } = await bench(t);
  const dry = await cli("start", "lab", "--dry-run", "--quiet-time", "5");
  t.is(dry.code, 0, dry.err);
  t.regex(dry.out, /^1 outlets with 1 slots are switched off, then on one by one: a\/1\n/);
  const unasked = await cli("start", "lab");
  t.is(unasked.code, 2);
  t.regex(unasked.err, /The whole rack lab will be switched off first/);
  t.deepEqual(
    server.calls.filter((call) => call.startsWith("learn")),
    [],
  );
  t.is((await cli("start", "lab", "--yes")).code, 0);
  t.deepEqual(
    server.calls.filter((call) => call.startsWith("learn")),
    ["learn lab"],
  );
});

const refused: readonly (readonly [
  title: string,
  words: readonly string[],
  code: number,
  says: RegExp,
])[] = [
  ["a rack that is not there", ["start", "zz", "--yes"], 5, /no rack zz/],
  [
    "a time that is none",
    ["start", "lab", "--yes", "--quiet-time", "soon"],
    2,
    /--quiet-time soon is not/,
  ],
  [
    "a time out of range",
    ["start", "lab", "--yes", "--quiet-time", "9999"],
    2,
    /quietSeconds|<= 600/,
  ],
  ["a confirmation of nothing", ["confirm"], 2, /TARGET is missing/],
  ["half a swap", ["swap", "a/1"], 2, /SLOT is missing/],
  ["a slot without its stack", ["place", "dc:a6:32:00:00:01", "1"], 2, /slot/],
];
for (const [title, words, code, says] of refused) {
  test(`refused: ${title}`, async (t) => {
    const { cli } = await bench(t);
    const { code: got, err } = await cli(...words);
    t.is(got, code, err);
    t.regex(err, says);
  });
}

test("answers are said, and what came of them is told", async (t) => {
  const { cli } = await bench(t);
  t.is((await cli("confirm", "a")).out, "a\n");
  t.is((await cli("keep", "a/1")).out, "a/1\n");
  t.is((await cli("swap", "a/1", "a/2")).out, "a/1\na/2\n");
  t.is((await cli("place", "DC-A6-32-00-00-01", "a/1")).out, "dc:a6:32:00:00:01\na/1\n");
  const { code, out, err } = await cli("show");
  t.is(code, 0);
  t.is(`${out}${err}`, "no rack was learned yet\n");
});
