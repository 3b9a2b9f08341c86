/** What control tells of the node, and of what it does for it, as families of samples: the metrics page shows them. */

/** What only control knows. */
export interface MetricsFacts {
  /** Before every name, as "apisix_". */
  prefix: string;
  hostname: string;
  version: string;
  /** Labels of every sample. */
  labels?: Readonly<Record<string, string>>;
  /** Upstream status, store state, quarantined resources, ... */
  families?: readonly FactFamily[];
}

export interface FactFamily {
  /** Without the prefix. A family of the workers with the same name is not shown. */
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: readonly FactSample[];
}

export interface FactSample {
  labels?: Readonly<Record<string, string>>;
  value: number;
}
