/** OpenSSH's own server on loopback, with one authorised key, for one test. */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import type { Ipv4Address } from "#protocol/brand.ts";
import { openSshKey, type SshKey } from "../../server/ssh/key.ts";
import type { SshTarget } from "../../server/ssh/shell.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const sshd = "/usr/sbin/sshd";
export const whyNot =
  existsSync(sshd) && userInfo().uid === 0 ? undefined : "needs root and openssh-server";

export interface SshServer {
  readonly target: SshTarget;
  readonly key: SshKey;
  readonly directory: string;
}

export async function startSshServer(t: ExecutionContext): Promise<SshServer> {
  const directory = temporaryDirectory(t);
  const key = await openSshKey(join(directory, "keys", "ssh.key"));
  const hostKey = join(directory, "host");
  run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", hostKey]);
  const authorized = join(directory, "authorized_keys");
  writeFileSync(authorized, `${key.publicLine}\n`, { mode: 0o600 });
  const port = await freePort();
  const config = join(directory, "sshd_config");
  writeFileSync(
    config,
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${authorized}`,
      ...["UsePAM no", "StrictModes no", "PermitRootLogin yes", "PasswordAuthentication no"],
      "Subsystem sftp internal-sftp",
    ].join("\n"),
  );
  mkdirSync("/run/sshd", { recursive: true }); // sshd wants it, and Debian's unit usually makes it
  const server = spawn(sshd, ["-D", "-e", "-f", config], { stdio: ["ignore", "ignore", "pipe"] });
  const said: string[] = [];
  server.stderr.setEncoding("utf8").on("data", (text: string) => said.push(text));
  t.teardown(() => {
    server.kill();
    if (!t.passed) t.log(said.join(""));
  });
  await untilListening(port);
  const fingerprint = run("ssh-keygen", ["-l", "-f", hostKey]).split(" ")[1] ?? "";
  const target = {
    address: "127.0.0.1" as Ipv4Address,
    port,
    user: userInfo().username,
    privateKey: readFileSync(join(directory, "keys", "ssh.key"), "utf8"),
    hostKeys: [fingerprint],
  };
  return { target, key, directory };
}

function run(program: string, argv: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, argv, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
  return stdout;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function untilListening(port: number): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    const isThere = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("sshd does not listen");
}
