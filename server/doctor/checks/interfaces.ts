/** Every interface of the configuration: there, up, with a cable and an address that fits. */

import type { Finding } from "#protocol/timeline.ts";
import { contains, within } from "../../lease/leases.ts";
import {
  addressOf,
  type Check,
  type CheckContext,
  fine,
  hint,
  interfacesOf,
  problem,
} from "../check.ts";

const ordinaryMtu = 1500;
const fewErrors = 100;

export const interfacesCheck: Check = {
  name: "interfaces",
  examine: async (context) => interfacesOf(context).flatMap((name) => examineOne(name, context)),
};

function examineOne(name: string, context: CheckContext): readonly Finding[] {
  const { machine } = context;
  const read = (file: string) => machine.read(`sys/class/net/${name}/${file}`);
  if (read("ifindex") === undefined) {
    const others = machine.list("sys/class/net").filter((one) => one !== "lo");
    return [
      problem(
        "interface-missing",
        `there is no interface ${name}`,
        `write one of these into the configuration: ${others.join(", ") || "none has a name but lo"}`,
      ),
    ];
  }
  const isUp = (Number.parseInt(read("flags") ?? "0", 16) & 1) === 1; // IFF_UP
  if (!isUp) {
    return [problem("interface-down", `${name} is down`, `ip link set ${name} up`)];
  }
  if (read("carrier") !== "1") {
    return [
      problem(
        "no-carrier",
        `${name} has no link`,
        "plug the cable in; look at the switch's port and its power",
      ),
    ];
  }
  const findings = [...addressFindings(name, context), ...linkFindings(name, read)];
  const isFine = findings.every(({ severity }) => severity === "ok");
  const speed = Number(read("speed") ?? 0);
  const words = speed > 0 ? `, ${speed} Mbit/s` : "";
  return isFine
    ? [fine("interface", `${name} has a link${words} and the address ${addressOf(context, name)}`)]
    : findings;
}

function addressFindings(name: string, context: CheckContext): readonly Finding[] {
  const subnets = context.config.subnets.filter((subnet) => subnet.interface === name);
  const cidrs = subnets.map(({ cidr }) => cidr).join(", ");
  const address = addressOf(context, name);
  if (address === undefined) {
    return [
      problem(
        "no-address",
        `${name} has no IPv4 address`,
        `give it one of ${cidrs}: ip address add … dev ${name}, and in the machine's own network settings`,
      ),
    ];
  }
  const local = subnets.find((subnet) => contains(subnet, address));
  if (!local) {
    return [
      problem(
        "address-outside",
        `${name} has ${address}, which is in none of its subnets (${cidrs})`,
        "correct the address or the subnet",
      ),
    ];
  }
  const range = [local.reserved, local.pool].find((one) => one && within(one, address));
  if (!range) return [];
  return [
    problem(
      "address-handed-out",
      `${name}'s own ${address} lies in ${range.first} - ${range.last}, which is handed out`,
      "make the range smaller, or give the server another address",
    ),
  ];
}

function linkFindings(
  name: string,
  read: (file: string) => string | undefined,
): readonly Finding[] {
  const mtu = Number(read("mtu") ?? ordinaryMtu);
  const errors =
    Number(read("statistics/rx_errors") ?? 0) + Number(read("statistics/tx_errors") ?? 0);
  return [
    ...(mtu < ordinaryMtu
      ? [
          hint(
            "small-mtu",
            `${name} has an MTU of ${mtu}: firmware sends frames of ${ordinaryMtu}`,
            `ip link set ${name} mtu ${ordinaryMtu}`,
          ),
        ]
      : []),
    ...(read("duplex") === "half"
      ? [
          hint(
            "half-duplex",
            `${name} runs at half duplex`,
            "let both ends negotiate; try another cable",
          ),
        ]
      : []),
    ...(errors > fewErrors
      ? [
          hint(
            "link-errors",
            `${name} has counted ${errors} damaged frames`,
            "try another cable or port: TFTP suffers most from lost packets",
          ),
        ]
      : []),
  ];
}
