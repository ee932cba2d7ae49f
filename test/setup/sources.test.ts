/** Where the machine's own package lists say the Debian archive is. */

import test from "ava";
import { findArchiveEntry } from "../../netinst/initramfs/private-apt.ts";

const uri = "http://mirror.example/debian";
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

const table = [
  ["one line", `deb ${uri} bookworm main contrib`, { uri }],
  [
    "one line with options",
    `deb [arch=amd64 signed-by=${keyring}] ${uri} bookworm main`,
    { uri, signedBy: keyring },
  ],
  ["a comment behind the line", `deb ${uri} bookworm main # ours`, { uri }],
  [
    "deb822 with comments between the fields",
    `Types: deb\n# snapshot\nURIs: ${uri}\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: ${keyring}\n`,
    { uri, signedBy: keyring },
  ],
  [
    "deb822, second stanza: the first is another suite",
    `Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nComponents: main\n\nTypes: deb deb-src\nURIs: ${uri}\nSuites: bookworm\nComponents: main\n`,
    { uri },
  ],
  [
    "another vendor's component is not the archive",
    "deb http://vendor.example bookworm stable",
    undefined,
  ],
  ["sources only", `deb-src ${uri} bookworm main`, undefined],
  [
    "switched off",
    `Types: deb\nEnabled: no\nURIs: ${uri}\nSuites: bookworm\nComponents: main\n`,
    undefined,
  ],
  ["a comment", `# deb ${uri} bookworm main`, undefined],
] as const;

for (const [title, text, expected] of table) {
  test(title, (t) => {
    const found = findArchiveEntry([text], "bookworm");
    t.deepEqual(
      found && { uri: found.uri, ...(found.signedBy && { signedBy: found.signedBy }) },
      expected,
    );
  });
}

test("an embedded key block is kept whole", (t) => {
  const text = `Types: deb\nURIs: ${uri}\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n`;
  t.regex(findArchiveEntry([text], "bookworm")?.signedBy ?? "", /\n \.\n mQINBF\n -----END/);
});
