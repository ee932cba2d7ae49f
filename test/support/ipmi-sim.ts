/** Files of OpenIPMI's ipmi_sim: a BMC with one channel and one user, whose chassis is a program of ours. */

import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface IpmiSim {
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Shell text that asks and switches the chassis (ipmi_lan(5), chassis_control). */
  readonly chassis: string;
}

const lan = ({ address, port, user, password }: IpmiSim, program: string) => `name "lab"
set_working_mc 0x20
  startlan 1
    addr ${address} ${port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "${program} 0x20"
  user 2 true "${user}" "${password}" admin 10 none md2 md5 straight
`;

const emulation = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
`;

/** @returns the arguments of ipmi_sim */
export function writeIpmiSim(directory: string, bmc: IpmiSim): readonly string[] {
  mkdirSync(join(directory, "state"), { recursive: true });
  const program = join(directory, "chassis");
  writeFileSync(program, `#!/bin/sh\n${bmc.chassis}\n`);
  chmodSync(program, 0o755);
  writeFileSync(join(directory, "lan.conf"), lan(bmc, program));
  writeFileSync(join(directory, "lab.emu"), emulation);
  const files = ["-c", join(directory, "lan.conf"), "-f", join(directory, "lab.emu")];
  return ["-n", ...files, "-s", join(directory, "state")];
}
