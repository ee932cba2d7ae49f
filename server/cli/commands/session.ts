/** `marcoboot setup`, `login`, `logout`. */

import { readFileSync } from "node:fs";
import {
  type Command,
  exitCodes,
  type OptionSpec,
  type Run,
  required,
  textOf,
} from "../command.ts";
import { writeToken } from "../token-file.ts";

export const passwordFile: OptionSpec = {
  type: "string",
  value: "FILE",
  about: "first line is the password; default: standard input",
};

/** @param option - names the file, if there is one */
export async function passwordOf(
  { values, output }: Run,
  question = "Password: ",
  option = "password-file",
): Promise<string> {
  const path = textOf(values, option);
  if (path !== undefined) return firstLine(readFileSync(path, "utf8"));
  if (output.isInteractive) return output.askSecret(question);
  return firstLine(await output.readInput());
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? "";
}

function keep(run: Run, answer: unknown): typeof exitCodes.done {
  const session = answer as { token: string; name: string; role: string };
  const path = writeToken(run.environment, session.token);
  const { name, role } = session;
  run.output.value(
    { name, role, tokenFile: path },
    `signed in as ${name} (${role}); token in ${path}`,
  );
  return exitCodes.done;
}

export const sessionCommands: readonly Command[] = [
  {
    noun: "setup",
    verb: "",
    about: "make the first admin with the set-up code of the server's console; asks for a password",
    positionals: ["CODE", "[NAME]"],
    options: { "password-file": passwordFile },
    examples: ["marcoboot setup 7K3M-Q2RT-9XWP anna <password.txt"],
    async run(run) {
      const code = required(run.positionals[0], "CODE");
      const name = run.positionals[1] ?? "admin";
      const password = await passwordOf(run);
      return keep(run, await run.client.send("POST", "/api/v1/setup", { code, name, password }));
    },
  },
  {
    noun: "login",
    verb: "",
    about: "sign in and keep a token",
    positionals: ["NAME"],
    options: { "password-file": passwordFile },
    examples: ["marcoboot login anna <password.txt"],
    async run(run) {
      const name = required(run.positionals[0], "NAME");
      const password = await passwordOf(run);
      return keep(run, await run.client.send("POST", "/api/v1/sessions", { name, password }));
    },
  },
  {
    noun: "logout",
    verb: "",
    about: "make the kept token worthless",
    positionals: [],
    options: {},
    examples: ["marcoboot logout"],
    async run({ client, output }) {
      await client.send("DELETE", "/api/v1/sessions/current");
      output.say("signed out");
      return exitCodes.done;
    },
  },
];
