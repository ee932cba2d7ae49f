import test from "ava";
import { fileOfTitle } from "../../scripts/test/title-file.ts";

const files = [
  "test/job/window.test.ts",
  "test/web/window.test.ts",
  "test/peer/power-ipmi.test.ts",
  "test/demo.test.ts",
];

test("a title belongs to the file whose path it begins with", (t) => {
  t.is(fileOfTitle("web › window › a week is drawn", files), "test/web/window.test.ts");
  t.is(fileOfTitle("power-ipmi › a machine › is switched", files), "test/peer/power-ipmi.test.ts");
  t.is(fileOfTitle("peer › power-ipmi › is switched", files), "test/peer/power-ipmi.test.ts");
  t.is(fileOfTitle("demo › a summary", files), "test/demo.test.ts");
});

test("a crash belongs to the file it names", (t) => {
  const title = "test/web/window.test.ts exited with a non-zero exit code: 1";
  t.is(fileOfTitle(title, files), "test/web/window.test.ts");
});

test("a title of no file belongs to none", (t) => {
  t.is(fileOfTitle("Error: listen EADDRINUSE", files), undefined);
  t.is(fileOfTitle("demonstration › a summary", files), undefined);
});
