/** `marcoboot user …`, `marcoboot token …` */

import type { Account, TokenSummary } from "#protocol/account.ts";
import { type Command, confirm, exitCodes, required, textOf, yesOption } from "../command.ts";
import { type Page, timeText } from "../shapes.ts";
import { passwordFile, passwordOf } from "./session.ts";

const pathOf = (name: string) => `/api/v1/users/${encodeURIComponent(name)}`;
const role = { type: "string", value: "ROLE", about: "viewer, operator or admin" } as const;

export const userCommands: readonly Command[] = [
  {
    noun: "user",
    verb: "list",
    about: "who may sign in, and as what",
    positionals: [],
    options: {},
    examples: ["marcoboot user list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/users")) as Page<Account>;
      output.table(
        ["name", "role", "since"],
        items.map((user) => [user.name, user.role, timeText(user.createdAt)]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "user",
    verb: "add",
    about: "let another person in",
    positionals: ["NAME"],
    options: {
      role: { ...role, about: `${role.about}; default viewer` },
      "password-file": passwordFile,
    },
    examples: ["marcoboot user add bob --role operator <password.txt"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      const body = { name, role: textOf(run.values, "role") ?? "viewer" };
      const password = await passwordOf(run, `Password of ${name}: `);
      const user = (await run.client.send("POST", "/api/v1/users", {
        ...body,
        password,
      })) as Account;
      run.output.value(user, `${user.name} is ${user.role}`);
      return exitCodes.done;
    },
  },
  {
    noun: "user",
    verb: "role",
    about: "change what a user may do",
    positionals: ["NAME", "ROLE"],
    options: {},
    examples: ["marcoboot user role bob admin"],
    async run({ client, output, positionals }) {
      const path = pathOf(required(positionals[0], "NAME"));
      const role = required(positionals[1], "ROLE");
      const user = (await client.send("PATCH", path, { role })) as Account;
      output.value(user, `${user.name} is ${user.role}`);
      return exitCodes.done;
    },
  },
  {
    noun: "user",
    verb: "password",
    about: "change one's own password, or as admin another user's; ends the user's sessions",
    positionals: ["NAME"],
    options: {
      "password-file": {
        ...passwordFile,
        about: "first line is the new one; default: standard input",
      },
      "current-file": {
        ...passwordFile,
        about: "first line is the present one, needed for one's own; default: asked for",
      },
    },
    examples: ["marcoboot user password bob --password-file new.txt"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      const me = (await run.client.get("/api/v1/sessions/current")) as { name: string };
      const isOwn = me.name === name;
      if (isOwn && !run.output.isInteractive) {
        required(textOf(run.values, "current-file"), "--current-file");
      }
      const current = isOwn
        ? await passwordOf(run, "Present password: ", "current-file")
        : undefined;
      const password = await passwordOf(run, "New password: ");
      await run.client.send("PUT", `${pathOf(name)}/password`, {
        password,
        ...(current !== undefined && { current }),
      });
      run.output.say(`the password of ${name} is changed; sign in again`);
      return exitCodes.done;
    },
  },
  {
    noun: "user",
    verb: "remove",
    about: "end a user's account, sessions and tokens at once",
    positionals: ["NAME"],
    options: { yes: yesOption },
    examples: ["marcoboot user remove bob --yes"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      await confirm(run, `${name} is signed out everywhere and cannot come back`, name);
      await run.client.send("DELETE", pathOf(name));
      run.output.say(`${name} is removed`);
      return exitCodes.done;
    },
  },
  {
    noun: "token",
    verb: "list",
    about: "sessions and tokens: one's own, as admin everybody's",
    positionals: [],
    options: {},
    examples: ["marcoboot token list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/tokens")) as Page<TokenSummary>;
      const time = (at: number | undefined) => (at === undefined ? "-" : timeText(at));
      output.table(
        ["id", "user", "name", "role", "until", "last used"],
        items.map((one) => [
          ...[one.id, one.user, one.name, one.role],
          ...[time(one.expiresAt), time(one.lastUsedAt)],
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "token",
    verb: "add",
    about: "make a token for a program; it is shown once",
    positionals: ["NAME"],
    options: {
      role: { ...role, about: "at most this; default: as much as you" },
      days: { type: "string", value: "N", about: "ends after so many; default 365" },
    },
    examples: ["marcoboot token add grafana --role viewer --days 90"],
    async run({ client, output, positionals, values }) {
      const [role, days] = [textOf(values, "role"), textOf(values, "days")];
      const made = (await client.send("POST", "/api/v1/tokens", {
        name: required(positionals[0], "NAME"),
        ...(role !== undefined && { role }),
        ...(days !== undefined && { expiresInDays: Number(days) }),
      })) as TokenSummary & { readonly token: string };
      output.value(made, made.token);
      return exitCodes.done;
    },
  },
  {
    noun: "token",
    verb: "remove",
    about: "end a session or token at once",
    positionals: ["ID"],
    options: {},
    examples: ["marcoboot token remove 4c1f0a9be23d"],
    async run({ client, output, positionals }) {
      const id = required(positionals[0], "ID");
      await client.send("DELETE", `/api/v1/tokens/${encodeURIComponent(id)}`);
      output.say(`${id} is ended`);
      return exitCodes.done;
    },
  },
];
