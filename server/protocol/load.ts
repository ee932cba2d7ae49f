/** How busy a node is: measured each second, and only while somebody looks. */

export const loadPeriodMs = 1000;

export interface NodeLoad {
  /** Of all processors together, since the sample before: 0-100. */
  readonly cpuPercent: number;
  /** Of the last minute. */
  readonly loadAverage: number;
  readonly memoryUsedMiB: number;
  readonly memoryMiB: number;
  /** Hottest sensor, in degrees Celsius; absent where there is none. */
  readonly temperature?: number;
  /** By the interface the agent uses, in octets per second. */
  readonly received: number;
  readonly sent: number;
  readonly uptimeSeconds: number;
}

/** The server's answer to a sample. */
export interface LoadAnswer {
  /** False: nobody looks any more, the agent stops. */
  readonly isWatched: boolean;
}
